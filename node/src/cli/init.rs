//! `lifeboat init`: the first configuration and the key of a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::args::{HypervisorName, InitArgs};
use super::failure::Failure;
use super::output::print;
use crate::config::{self, DEFAULT_PATH, FILE_NAME, HypervisorKind, InitOptions, Initialised};

/// Writes both files and says what to do next.
pub(super) fn run(args: &InitArgs, config: Option<&Path>) -> Result<(), Failure> {
    let options = options(args)?;
    let made = config::init(&directory(args, config)?, &args.name, &options)?;
    print(&text(&args.name, &made))
}

fn directory(args: &InitArgs, config: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let file = config.unwrap_or(Path::new(DEFAULT_PATH));
    match file.parent() {
        Some(dir) if file.ends_with(FILE_NAME) => Ok(dir.to_owned()),
        _ => Err(Failure::Usage(format!(
            "a new configuration is always named {FILE_NAME}: give its directory with --dir \
             instead of {}",
            file.display()
        ))),
    }
}

fn options(args: &InitArgs) -> Result<InitOptions, Failure> {
    let mut options = InitOptions::new(&args.site, args.address);
    let anywhere: IpAddr = match args.address.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    options.listen = args.listen.unwrap_or((anywhere, args.address.port()).into());
    if let Some(dir) = &args.state_dir {
        options.state_dir.clone_from(dir);
    }
    if let Some(dir) = &args.run_dir {
        options.run_dir.clone_from(dir);
    }
    match (args.hypervisor, &args.libvirt_uri, &args.hypervisor_socket) {
        (HypervisorName::Libvirt, _, Some(_)) => {
            return Err(Failure::Usage(
                "--hypervisor-socket belongs to --hypervisor embedded; libvirt has --libvirt-uri"
                    .to_owned(),
            ));
        }
        (HypervisorName::Embedded, Some(_), _) => {
            return Err(Failure::Usage(
                "--libvirt-uri belongs to --hypervisor libvirt; the embedded one has \
                 --hypervisor-socket"
                    .to_owned(),
            ));
        }
        (HypervisorName::Libvirt, Some(uri), None) => {
            options.hypervisor = HypervisorKind::Libvirt { uri: uri.clone() };
        }
        (HypervisorName::Libvirt, None, None) => {}
        (HypervisorName::Embedded, None, socket) => {
            let beside = || options.run_dir.join("hypervisor.sock");
            let socket = socket.clone().unwrap_or_else(beside);
            options.hypervisor = HypervisorKind::Embedded { socket };
        }
    }
    Ok(options)
}

fn text(name: &str, made: &Initialised) -> String {
    format!(
        "wrote {config}\nwrote {key}, the secret key of {name}: never copy it\n\n\
         The other hosts need this entry in their configurations, and this one needs theirs:\n\n\
         {entry}\n\
         Then start the daemon: lifeboat node --config {config}",
        config = made.config_file.display(),
        key = made.key_file.display(),
        entry = made.node_entry.trim_end().to_owned() + "\n",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn args(line: &str) -> InitArgs {
        let words = ["lifeboat", "init"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Init(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_port_of_the_address_is_listened_on() {
        let made = options(&args("a1 --site a --address 127.0.0.1:7501")).unwrap();
        assert_eq!(made.listen.to_string(), "0.0.0.0:7501");
        let made = options(&args("a1 --site a --address fd00::1")).unwrap();
        assert_eq!(made.listen.to_string(), "[::]:7420");
        let made = options(&args("a1 --site a --address 10.0.0.1 --listen 10.0.0.1:9")).unwrap();
        assert_eq!(made.listen.to_string(), "10.0.0.1:9");
    }

    #[test]
    fn options_of_one_hypervisor_do_not_fit_the_other() {
        let check = |line: &str, expect: Option<HypervisorKind>| {
            let line = format!("a1 --site a --address 127.0.0.1 {line}");
            assert_eq!(options(&args(&line)).ok().map(|made| made.hypervisor), expect, "{line}");
        };
        let libvirt = |uri: &str| Some(HypervisorKind::Libvirt { uri: uri.to_owned() });
        let embedded = |path: &str| Some(HypervisorKind::Embedded { socket: path.into() });
        check("", libvirt("qemu:///system"));
        check("--libvirt-uri test:///default", libvirt("test:///default"));
        check("--hypervisor embedded --run-dir /r", embedded("/r/hypervisor.sock"));
        check("--hypervisor embedded --hypervisor-socket /h", embedded("/h"));
        check("--hypervisor-socket /h", None);
        check("--hypervisor embedded --libvirt-uri test:///default", None);
    }

    #[test]
    fn the_configuration_says_where_files_go() {
        let plain = args("a1 --site a --address 127.0.0.1");
        let dir = |config: Option<&str>| directory(&plain, config.map(Path::new)).ok();
        assert_eq!(dir(None), Some("/etc/lifeboat".into()));
        assert_eq!(dir(Some("/x/lifeboat.toml")), Some("/x".into()));
        assert_eq!(dir(Some("/x/other.toml")), None);
    }

    #[test]
    fn the_entry_for_others_is_printed() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&args("a1 --site a --address 127.0.0.1:7501")).unwrap();
        let made = config::init(dir.path(), "a1", &options).unwrap();
        let text = text("a1", &made);
        assert!(
            text.contains("[[node]]\nname = \"a1\"\nsite = \"a\"\npeer = \"12D3KooW"),
            "{text}"
        );
    }
}
