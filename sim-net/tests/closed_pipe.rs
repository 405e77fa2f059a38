//! `lifeboat-sim ... | head`: nobody reads the rest.

use std::{
    io::pipe,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

#[test]
fn a_program_whose_output_nobody_reads_ends_without_a_word() {
    let check = |program: &str, words: &[&str]| {
        let (reader, writer) = pipe().expect("the system has a pipe left");
        drop(reader);
        let ended = Command::new(program)
            .args(words)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("the program can be run");
        assert_eq!(ended.status.signal(), Some(libc::SIGPIPE), "{program}: {:?}", ended.status);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{program}");
    };
    check(env!("CARGO_BIN_EXE_lifeboat-sim"), &["calibrate"]);
    check(env!("CARGO_BIN_EXE_lifeboat-model"), &["--help"]);
}
