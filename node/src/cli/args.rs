//! What can be written on the command line, checked as far as that needs no daemon.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::api::{LONGEST_DEADLINE, Terms};
use crate::config::DEFAULT_PORT;
use crate::demo::DemoOptions;
use crate::units::parse_duration;

const ABOUT: &str = "\
Evacuates the virtual machines of a failing site to a safe one.

A daemon (`lifeboat node`) runs on every host. The hosts agree among themselves who may use how \
much of the thin link between the sites, and live-migrate the machines, the urgent ones first. \
There is no controller: every command can be given on any host, and whichever host dies, the \
others go on.

The usual way: `lifeboat status` to see that all hosts are heard, `lifeboat plan` to see what \
would happen, `lifeboat evacuate` to do it, `lifeboat report` to see how it went.";

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  not all done, or refused by the daemon, or no daemon answers
  2  wrong usage, a site or host that does not exist, or a wrong configuration; nothing was done

Files:
  /etc/lifeboat/lifeboat.toml  the configuration of this host
  /run/lifeboat/lifeboat.sock  where its daemon listens for these commands";

const INIT_EXAMPLES: &str = "\
Examples:
  lifeboat init a1 --site a --address 10.1.0.11
  lifeboat init b1 --site b --address 10.2.0.11:7420 --libvirt-uri qemu:///system
  lifeboat init t1 --site a --address 127.0.0.1:7501 --dir /tmp/t1 --run-dir /tmp/t1/run \\
      --state-dir /tmp/t1/state --hypervisor embedded

Every host needs the [[node]] entries of all the others: this command prints the entry of this \
host, ready to be pasted into their configurations.

The embedded hypervisor needs nothing installed: `lifeboat embedded-hypervisor --help` shows how it \
is run, and docs/operating.md, \"Trying it without libvirt\", a whole example.

Exit status:
  0  both files are written
  1  a file is there already, or cannot be written; nothing is overwritten
  2  the options do not make a sound configuration; nothing was written";

const NODE_HELP: &str = "\
Examples:
  lifeboat node
  lifeboat node --config /tmp/t1/lifeboat.toml
  LIFEBOAT_LOG=debug lifeboat node
  systemctl enable --now lifeboat

It runs in the foreground and starts the carrier of this host, a process of its own through which \
everything to and from other hosts goes. A daemon that is started anew adopts the carrier that runs \
and the moves that are under way.

Signals:
  SIGTERM, SIGINT  says goodbye to the other hosts and ends. The carrier and its moves go on; to end \
these, too: `lifeboat carrier --stop`.
  SIGKILL          loses nothing: what matters stands in the journal.

Environment:
  LIFEBOAT_LOG     how much is logged, instead of `level` in the configuration: error, warn, info, \
debug, trace, or a filter such as debug,libp2p=info
  LIFEBOAT_CONFIG  as --config
  NO_COLOR         no colours in the log

Exit status:
  0  it was told to stop
  1  it cannot start: key, journal, sockets or hypervisor; the message says what to do
  2  wrong usage, or a wrong configuration; nothing was started";

const CARRIER_HELP: &str = "\
The daemon starts it, and it outlives the daemon, so that a restart of the daemon costs no move. To \
end it, to free its port or to start the next one from a newer program:

  systemctl stop lifeboat
  lifeboat carrier --stop
  systemctl start lifeboat

Moves that are under way are given up by that; their machines run on where they are, and move later.

Exit status:
  0  it was told to stop; with --stop: none runs (any more)
  1  it cannot start, or does not stop; with --stop: the daemon still runs
  2  wrong usage, or a wrong configuration";

const EMBEDDED_HYPERVISOR_HELP: &str = "\
Example of FILE, and of the file that its `vms` names:
  { \"control\": \"/tmp/t1/run/hypervisor.sock\", \"memory\": 1073741824, \"processors\": 4,
    \"vms\": \"/tmp/t1/vms.json\" }
  [ { \"uuid\": \"00000000-0000-0000-0000-000000000001\", \"name\": \"web\", \"memory\": 67108864,
      \"dirty_rate\": 1000000, \"policy\": { \"priority\": 90 } } ]

Its guests hold real memory and write to it. They end with this process.";

const STATUS_EXAMPLES: &str = "\
Examples:
  lifeboat status
  lifeboat status --all
  watch -n 2 lifeboat status
  lifeboat status --json | jq '.hosts[] | select(.state != \"alive\")'

What is wrong comes first. The view is that of the host asked: another host may hear more or less. \
In a cluster of more than 32 hosts those that have no reason to speak to this one are `distant`; the \
stewards of each site, which are named then, hear all hosts of their site. \
On a narrow terminal the less important columns are left out; --json has everything.

Exit status:
  0  answered
  1  no daemon answers
  2  wrong usage, or a wrong configuration";

const VMS_EXAMPLES: &str = "\
Examples:
  lifeboat vms
  lifeboat vms --host a1,a2 --state failed,unknown
  lifeboat vms --json | jq -r '.[] | select(.reasons != []) | .name'

Below the list stands of which hosts it is not known what they run, and why. In a cluster of more than \
32 hosts each daemon knows only the machines of its own host.

Exit status:
  0  answered
  1  no daemon answers
  2  wrong usage, a host that does not exist, or a wrong configuration";

const PLAN_EXAMPLES: &str = "\
Examples:
  lifeboat plan --from a --to b
  lifeboat plan --from a1,a2 --to b c --deadline 20m

Nothing is started. A machine that cannot go is listed with everything that keeps it, so that all \
of it can be put right at once. Hosts of which it is not known what they run are named. In a cluster \
of more than 32 hosts each daemon plans for the machines of its own host, towards the hosts that it hears.

Exit status:
  0  there is a plan, whatever it says
  1  no daemon answers
  2  wrong usage, terms that make no sense (such as a site that does not exist), or a wrong
     configuration";

const EVACUATE_EXAMPLES: &str = "\
Examples:
  lifeboat evacuate --from a --to b --deadline 20m
  lifeboat evacuate --from a1,a2 --to b --yes --detach
  lifeboat evacuate --from a --to b --yes --json >evacuation.jsonl

The plan is printed first; then it is asked whether to start, unless --yes is given. Without a \
terminal --yes must be given. The evacuation belongs to no host: when this command ends, or is \
ended with Ctrl-C, or when the daemon that it was given to dies, the evacuation goes on. \
`lifeboat report --follow` follows it again, from any host; `lifeboat cancel` ends it.

Exit status:
  0  every machine has arrived; or it was started with --detach; or Ctrl-C was pressed
  1  not all have arrived: some cannot go (all reasons are printed), or no host that is to be emptied
     is heard, or it was cancelled, or it was answered that it is not to start
  2  wrong usage, terms that make no sense (such as a site that does not exist), a wrong
     configuration, or no terminal to ask at and no --yes; nothing was started";

const CANCEL_EXAMPLES: &str = "\
Examples:
  lifeboat cancel
  lifeboat cancel 68f3a2c100000007 --abort
  lifeboat cancel --declare-dead a3

Without --abort no further machine starts to move, and those on their way arrive. With --abort \
these are given up, too, and go on running where they are; only one that is already switching over \
arrives. Without an ID all that are active are ended; with --abort also those that were merely \
cancelled and still have machines on their way. What is printed is what they are now.

--declare-dead is for one rare case: a host fell silent at the very moment at which a machine \
switched over from it or to it. Nobody can then know from afar whether the machine runs there, so it \
stands still and is shown as `unknown`; `lifeboat status` says which host to ask.
  The host that it LEFT is dead: say so on the host where its copy waits, and it runs there. If that \
host is alive after all, the machine runs twice and its disks may be destroyed.
  The host that it went TO is dead: say so on the host that it left. From then on its copy there is \
never resumed, even if that host comes back, so you can start the machine cold from its disk on \
another host.
If no host of that site is heard, most likely only the link is cut; --whole-site says that you know \
better.

Exit status:
  0  done
  1  refused by the daemon, or no daemon answers, or not confirmed
  2  wrong usage, a host that does not exist, a wrong configuration, or no terminal to confirm at and
     no --yes";

const EVENTS_EXAMPLES: &str = "\
Examples:
  lifeboat events
  lifeboat events --follow --kind failed,alarm
  lifeboat events --json | jq -r .text

Each host remembers what it saw itself since its daemon started, at most the last 2000 events.

Exit status:
  0  all events are printed
  1  no daemon answers, or it ended while it was followed
  2  wrong usage, or a wrong configuration";

const REPORT_EXAMPLES: &str = "\
Examples:
  lifeboat report
  lifeboat report --follow
  lifeboat report 68f3a2c100000007 --json

Exit status:
  0  answered; with --follow: every machine has arrived, or Ctrl-C was pressed
  1  there is no such evacuation, or no daemon answers; with --follow: not all have arrived
  2  wrong usage, or a wrong configuration";

const DEMO_EXAMPLES: &str = "\
Examples:
  lifeboat demo
  lifeboat demo --hosts 2 --vms 4 --wan 200Mbit/s --kill none
  lifeboat demo --kill b2@10s --svg demo.svg --json demo.json

Nothing needs to be installed or configured, and it needs no root: every host is a few processes on \
this machine, with a hypervisor whose guests hold real memory and write to it, and the link between \
the sites is emulated. The guests' memory is random, so that nothing can be compressed and the \
bytes sent can be held against physics. It takes about a minute and, unless said otherwise, 4 GiB \
of memory at most. Lines appear when something was seen, up to a quarter of a second after it \
happened; the table at the end has the times at which it happened.

More than 16 hosts at each site are a large cluster, in which hosts do not all speak to each other.

Exit status:
  0  every machine arrived once, intact
  1  not all of them did, or it could not be played, or Ctrl-C was pressed, or nobody reads the output
  2  wrong usage, or a file or directory that cannot be written; nothing was started";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "lifeboat",
    version,
    about = "Evacuates the virtual machines of a failing site to a safe one.",
    long_about = ABOUT,
    after_long_help = EXIT_STATUS,
)]
pub struct Cli {
    /// The configuration of this host [default: /etc/lifeboat/lifeboat.toml].
    #[arg(long, global = true, value_name = "FILE", env = "LIFEBOAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the first configuration and the key of this host.
    #[command(after_long_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Run the daemon of this host.
    #[command(after_long_help = NODE_HELP)]
    Node,
    /// Show hosts, links and evacuations; what is wrong comes first.
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// List the virtual machines of all hosts.
    #[command(after_long_help = VMS_EXAMPLES)]
    Vms(VmsArgs),
    /// Show what an evacuation would do, without starting it.
    #[command(after_long_help = PLAN_EXAMPLES)]
    Plan(PlanArgs),
    /// Start an evacuation and follow it to its end.
    #[command(after_long_help = EVACUATE_EXAMPLES)]
    Evacuate(EvacuateArgs),
    /// End evacuations, or declare a host dead.
    #[command(after_long_help = CANCEL_EXAMPLES)]
    Cancel(CancelArgs),
    /// Print what happened.
    #[command(after_long_help = EVENTS_EXAMPLES)]
    Events(EventsArgs),
    /// Show how an evacuation went so far, measured against physics.
    #[command(after_long_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// See it work on this machine: two sites, an evacuation, and a host that dies.
    #[command(after_long_help = DEMO_EXAMPLES)]
    Demo(DemoOptions),
    /// Run the carrier of this host, as the daemon does by itself, or stop it.
    #[command(after_long_help = CARRIER_HELP)]
    Carrier {
        /// Stop the one that runs, with all its moves; stop the daemon first.
        #[arg(long)]
        stop: bool,
    },
    /// Run the embedded hypervisor, for trying things out without libvirt.
    #[command(hide = true, after_long_help = EMBEDDED_HYPERVISOR_HELP)]
    EmbeddedHypervisor {
        /// A JSON file: control socket, memory, processors, and the file of its machines.
        file: PathBuf,
    },
    /// Run the WAN emulator of the demo and the tests.
    #[command(hide = true)]
    WanEmulator {
        /// A JSON file: control socket, links and routes, as `lifeboat demo --keep` leaves one.
        file: PathBuf,
    },
    /// Write the manual pages, one per command, made from the words of --help.
    Man {
        /// Where to; the directory must exist.
        directory: PathBuf,
    },
}

/// How to reach the daemon and how to print its answers.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClientArgs {
    /// The socket of the daemon to ask; without it run_dir of the configuration says where it is.
    #[arg(long, value_name = "PATH", env = "LIFEBOAT_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print JSON: one value, or one per line where the output goes on.
    #[arg(long)]
    pub json: bool,
}

/// `lifeboat status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Also the evacuations that ended and are older than an hour; --json always has them.
    #[arg(long)]
    pub all: bool,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `lifeboat init`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InitArgs {
    /// The name of this host.
    pub name: String,
    /// The site that it stands in.
    #[arg(long)]
    pub site: String,
    /// Where the other hosts reach it. The port is 7420 unless said.
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub address: SocketAddr,
    /// Where the files go [default: the directory of the configuration, /etc/lifeboat].
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where it listens [default: all addresses, the port of --address].
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// What must survive a restart [default: /var/lib/lifeboat].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Sockets [default: /run/lifeboat].
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// What runs the virtual machines.
    #[arg(long, value_enum, default_value_t = HypervisorName::Libvirt)]
    pub hypervisor: HypervisorName,
    /// The connection address of libvirt [default: qemu:///system].
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// The socket of the embedded hypervisor [default: hypervisor.sock in --run-dir].
    #[arg(long, value_name = "PATH")]
    pub hypervisor_socket: Option<PathBuf>,
}

/// The hypervisors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HypervisorName {
    /// libvirt with QEMU.
    Libvirt,
    /// The emulated one, for trying things out.
    Embedded,
}

/// `lifeboat vms`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VmsArgs {
    /// Only those on these hosts.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = name)]
    pub host: Vec<String>,
    /// Only those in these states.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = VM_STATES)]
    pub state: Vec<String>,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The states that the daemon tells.
const VM_STATES: [&str; 9] = [
    "resting",
    "queued",
    "reserved",
    "moving",
    "switching",
    "committing",
    "failed",
    "unknown",
    "arriving",
];

/// The terms of an evacuation.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TermsArgs {
    /// Sites and hosts to be emptied.
    #[arg(
        long, required = true, value_name = "SITE|HOST", value_delimiter = ',', num_args = 1..,
        value_parser = name,
    )]
    pub from: Vec<String>,
    /// Sites that the machines go to; their hosts share them.
    #[arg(
        long, required = true, value_name = "SITE", value_delimiter = ',', num_args = 1..,
        value_parser = name,
    )]
    pub to: Vec<String>,
    /// By when all should have left, from now, such as 20m or 1h30m. What can still make it goes
    /// first, and what cannot is named at once.
    #[arg(
        long, value_name = "DURATION", value_parser = deadline, allow_hyphen_values = true,
    )]
    pub deadline: Option<Duration>,
}

impl TermsArgs {
    /// As the daemon is asked.
    pub fn terms(&self) -> Terms {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Terms {
            from: self.from.clone(),
            to: self.to.clone(),
            deadline_ms: self.deadline.map(milliseconds),
        }
    }
}

/// `lifeboat plan`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PlanArgs {
    /// The terms.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `lifeboat evacuate`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EvacuateArgs {
    /// The terms.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Start without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// Start and do not follow.
    #[arg(long)]
    pub detach: bool,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `lifeboat cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CancelArgs {
    /// Which evacuation, as the status shows it; all active ones if it is not given.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Give up the moves under way, too: these machines stay where they are.
    #[arg(long)]
    pub abort: bool,
    /// Your word that this host is dead and that its machines cannot run. Read --help first.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["id", "abort"])]
    pub declare_dead: Option<String>,
    /// The same of a host of whose site nobody is heard: most often that is a cut link, and it runs on.
    #[arg(long, requires = "declare_dead")]
    pub whole_site: bool,
    /// Do not ask before declaring a host dead.
    #[arg(long, short, requires = "declare_dead")]
    pub yes: bool,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `lifeboat events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on; Ctrl-C ends it.
    #[arg(long, short)]
    pub follow: bool,
    /// Only these kinds.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = EVENT_KINDS)]
    pub kind: Vec<String>,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The kinds of events that the daemon tells.
const EVENT_KINDS: [&str; 8] =
    ["rejected", "member", "evacuation", "vm", "failed", "unknown", "link", "alarm"];

/// `lifeboat report`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReportArgs {
    /// Which evacuation, as the status shows it; the latest one if it is not given.
    pub id: Option<String>,
    /// Follow it to its end, as `lifeboat evacuate` does.
    #[arg(long, short)]
    pub follow: bool,
    /// The daemon.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The command line, with `--config` hidden from commands for which it has no meaning.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    let config = command.get_arguments().find(|one| one.get_id() == "config");
    let hidden = config.expect("it is defined").clone().hide(true);
    for name in WITHOUT_CONFIG {
        // One that a command has of its own takes the place of the one that all have.
        command = command.mut_subcommand(name, |one| one.arg(hidden.clone()));
    }
    command
}

/// Commands that read no configuration.
const WITHOUT_CONFIG: [&str; 4] = ["demo", "man", "embedded-hypervisor", "wan-emulator"];

fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name is missing; separate several with a comma or a space".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    if text.trim_start().starts_with('-') {
        return Err(format!("{text} is in the past; a deadline counts from now, such as 20m"));
    }
    let deadline = parse_duration(text).map_err(|error| error.to_string())?;
    match deadline.as_millis() {
        0 => Err(format!("{text} from now is past already; leave --deadline out for none")),
        _ if deadline > LONGEST_DEADLINE => {
            Err(format!("{text} is more than a year; leave --deadline out for none"))
        }
        _ => Ok(deadline),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>();
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let alone = || match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse::<IpAddr>(),
    };
    with_port.or_else(|_| alone().map(|ip| (ip, DEFAULT_PORT).into())).map_err(|_| {
        "it must be an IP address, with or without a port, such as 10.1.0.11:7420 or [fd00::1]:7420"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("lifeboat").chain(line.split_whitespace());
        let matches = command().try_get_matches_from(words)?;
        Cli::from_arg_matches(&matches).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
        command().debug_assert();
    }

    #[test]
    fn several_sites_by_comma_or_space() {
        let check = |line: &str, from: &[&str], to: &[&str]| match parse(line) {
            Ok(Command::Plan(args)) => {
                assert_eq!((args.terms.from, args.terms.to), (owned(from), owned(to)), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        };
        check("plan --from a --to b", &["a"], &["b"]);
        check("plan --from a1,a2 --to b", &["a1", "a2"], &["b"]);
        check("plan --from a1 a2 --to b c", &["a1", "a2"], &["b", "c"]);
        check("plan --from a1 --from a2,a3 --to=b", &["a1", "a2", "a3"], &["b"]);
    }

    #[test]
    fn deadlines() {
        let check = |text: &str, expect: u64| match parse(&format!(
            "evacuate --from a --to b --deadline {text}"
        )) {
            Ok(Command::Evacuate(args)) => {
                assert_eq!(args.terms.terms().deadline_ms, Some(expect), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        };
        check("20m", 1_200_000);
        check("1h30m", 5_400_000);
        check("500ms", 500);
    }

    #[test]
    fn what_is_refused_says_why() {
        let check = |line: &str, expect: &str| {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(expect), "{line}: {error}");
        };
        check("plan --to b", "--from");
        check("plan --from a", "--to");
        check("plan --from a, --to b", "a name is missing");
        check("evacuate --from a --to b --deadline 20", "no unit");
        check("evacuate --from a --to b --deadline 0s", "past already");
        check("evacuate --from a --to b --deadline -5m", "in the past");
        check("evacuate --from a --to b --deadline 99999999999999d", "more than a year");
        check("evacuate --from a --to b --deadline soon", "not a number");
        check("evacuate --from a --to b --deadline 5parsecs", "not a unit");
        check("cancel 12 --declare-dead a1", "cannot be used with");
        check("cancel --abort --declare-dead a1", "cannot be used with");
        check("cancel --yes", "--declare-dead");
        check("vms --state lost", "resting");
        check("events --kind noise", "alarm");
        check("init a1 --site a --address here", "IP address");
        check("init a1 --address 10.0.0.1", "--site");
        check("sink", "sink");
    }

    #[test]
    fn a_port_need_not_be_written() {
        let check = |text: &str, expect: &str| {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(expect.to_owned()));
        };
        check("10.0.0.1", "10.0.0.1:7420");
        check("10.0.0.1:99", "10.0.0.1:99");
        check("fd00::1", "[fd00::1]:7420");
        check("[fd00::1]", "[fd00::1]:7420");
        check("[fd00::1]:99", "[fd00::1]:99");
    }

    #[test]
    fn the_configuration_can_be_named_anywhere() {
        for line in ["--config /c node", "node --config /c", "carrier --config /c"] {
            let words = std::iter::once("lifeboat").chain(line.split_whitespace());
            let cli = Cli::try_parse_from(words).expect(line);
            assert_eq!(cli.config, Some(PathBuf::from("/c")), "{line}");
        }
    }

    #[test]
    fn a_configuration_is_offered_only_where_it_is_read() {
        for one in Cli::command().get_subcommands() {
            let name = one.get_name();
            let help = parse(&format!("{name} --help")).expect_err("help is not a command");
            let offered = help.to_string().contains("--config <FILE>");
            assert_eq!(offered, !WITHOUT_CONFIG.contains(&name), "{name}: {help}");
        }
    }

    #[test]
    fn every_command_has_help() {
        let mut names = Vec::new();
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            names.push(command.get_name().to_owned());
        }
        for name in names {
            let error = parse(&format!("{name} --help")).expect_err("help is not a command");
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{name}");
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
