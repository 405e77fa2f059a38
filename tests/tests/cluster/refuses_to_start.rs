//! What keeps a daemon from starting is said in one go, with what to do about it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use lifeboat::identity::NodeIdentity;
use lifeboat_tests::{Ended, run_program};
use tempfile::TempDir;

/// A host of its own, with a sound configuration.
struct Lone {
    directory: TempDir,
}

impl Lone {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let lone = Self { directory };
        let identity = NodeIdentity::generate();
        identity.store(&lone.path("node.key")).expect("a key");
        let at = lone.directory.path().display();
        let text = format!(
            "name = \"a1\"\nkey_file = \"{at}/node.key\"\nstate_dir = \"{at}/state\"\n\
             run_dir = \"{at}/run\"\nlisten = \"127.0.0.1:1\"\n\n[hypervisor]\n\
             kind = \"embedded\"\n\n[[node]]\nname = \"a1\"\nsite = \"a\"\n\
             peer = \"{}\"\naddress = \"127.0.0.1:1\"\n",
            identity.peer_id()
        );
        fs::write(lone.path("lifeboat.toml"), text).expect("a configuration");
        lone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, text: &str) {
        let file = self.path("lifeboat.toml");
        let before = fs::read_to_string(&file).expect("a configuration");
        fs::write(file, before + text).expect("a configuration");
    }

    /// Starts the daemon, which must end at once.
    fn refuses(&self, code: i32, words: &[&str]) -> Ended {
        let config = self.path("lifeboat.toml");
        let ended = run_program(&["node".as_ref(), "--config".as_ref(), config.as_os_str()]);
        let ended = ended.expect("it ends");
        assert_eq!(ended.code, Some(code), "{}", ended.text);
        for word in words {
            assert!(ended.text.contains(word), "{word:?} is not in: {}", ended.text);
        }
        assert!(!ended.text.contains("panicked"), "{}", ended.text);
        ended
    }
}

#[test]
fn a_configuration_that_is_not_there() {
    let lone = Lone::new();
    fs::remove_file(lone.path("lifeboat.toml")).expect("removed");
    lone.refuses(2, &["cannot read the configuration", "lifeboat init"]);
}

#[test]
fn a_configuration_that_is_no_text() {
    let lone = Lone::new();
    fs::write(lone.path("lifeboat.toml"), [0xff, 0xfe, 0x00]).expect("written");
    let ended = lone.refuses(2, &["lifeboat.toml:1: this line is not UTF-8 text"]);
    assert!(!ended.text.contains("lifeboat init"), "{}", ended.text);
}

#[test]
fn all_unknown_keys_with_line_and_nearest_key() {
    let lone = Lone::new();
    lone.append("colour = 1\n\n[timing]\nheartbeet = \"1s\"\n");
    lone.refuses(
        2,
        &[
            "lifeboat.toml:15: unknown key \"colour\" in [[node]]; known here are name, site",
            "lifeboat.toml:18: unknown key \"heartbeet\" in [timing]; did you mean \"heartbeat\"?",
            "Correct these 2 lines",
        ],
    );
}

#[test]
fn a_key_that_is_missing() {
    let lone = Lone::new();
    fs::remove_file(lone.path("node.key")).expect("removed");
    lone.refuses(1, &["node.key does not exist", "lifeboat init"]);
}

#[test]
fn a_key_that_others_can_read() {
    let lone = Lone::new();
    let key = lone.path("node.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("set");
    lone.refuses(1, &["has mode 0644", "chmod 600"]);
}

#[test]
fn a_key_that_is_not_the_listed_one() {
    let lone = Lone::new();
    fs::remove_file(lone.path("node.key")).expect("removed");
    NodeIdentity::generate().store(&lone.path("node.key")).expect("a key");
    lone.refuses(1, &["as peer of node \"a1\"", "restore the key"]);
}

#[test]
fn a_journal_that_cannot_be_read_is_left_as_it_is() {
    let lone = Lone::new();
    fs::create_dir(lone.path("state")).expect("a directory");
    let journal = lone.path("state/journal.redb");
    let damaged: Vec<u8> = (0..=255).cycle().take(9000).collect();
    fs::write(&journal, &damaged).expect("written");
    lone.refuses(1, &["the journal", "cannot be read in full", "mv ", "start again"]);
    assert!(fs::read(&journal).expect("it is there") == damaged, "the journal was changed");
}
