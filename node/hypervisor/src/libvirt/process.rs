//! The QEMU process of a domain: when it has exited, nothing of the domain can run here.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

use crate::VmId;

/// A handle on one running QEMU process; its number may be used again, the handle cannot.
pub(super) struct Process {
    handle: AsyncFd<OwnedFd>,
    directory: PathBuf,
    name: String,
    vm: VmId,
}

impl Process {
    /// The process of a running domain, by the file in which libvirt keeps its number.
    ///
    /// # Errors
    ///
    /// If there is no such file or process, or if it is not this domain's (a file left over).
    pub(super) fn of_domain(directory: &Path, name: &str, vm: VmId) -> io::Result<Self> {
        let handle = open(directory, name, vm)?;
        // SAFETY: the descriptor is owned, so it stays open, and the same, until it is dropped
        // together with its registration.
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }?;
        Ok(Self { handle, directory: directory.into(), name: name.into(), vm })
    }

    /// Returns once the process has exited.
    pub(super) async fn exited(&self) -> io::Result<()> {
        self.handle.readable().await.map(drop)
    }

    /// Whether the domain has another process by now: somebody has started it again.
    pub(super) fn is_replaced(&self) -> bool {
        open(&self.directory, &self.name, self.vm).is_ok()
    }
}

fn open(directory: &Path, name: &str, vm: VmId) -> io::Result<OwnedFd> {
    let text = fs::read_to_string(pid_file(directory, name))?;
    let number: i32 = text.trim().parse().map_err(io::Error::other)?;
    let pid = Pid::from_raw(number).ok_or_else(|| io::Error::other("no process number"))?;
    let handle = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // Read after the handle was opened: if the number was taken over, this is the new process.
    // Of a process that has exited nothing can be read.
    let command = fs::read(format!("/proc/{number}/cmdline"))?;
    let id = vm.to_string();
    if !command.windows(id.len()).any(|part| part == id.as_bytes()) {
        return Err(io::Error::other(format!("process {number} is not the QEMU of {name}")));
    }
    Ok(handle)
}

fn pid_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.pid"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Command, Stdio},
    };

    use super::*;

    const VM: VmId = VmId([0xab; 16]);

    #[tokio::test]
    async fn the_end_of_the_right_process_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "echo started; read line", &VM.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its command line can be read only once the new program has begun.
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
        fs::write(pid_file(directory.path(), "web"), child.id().to_string()).unwrap();
        let process = Process::of_domain(directory.path(), "web", VM).unwrap();
        assert!(process.is_replaced(), "while it lives, a process is found");
        drop(child.stdin.take());
        process.exited().await.unwrap();
        assert!(!process.is_replaced(), "its own remains are not another process");
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn another_process_with_the_number_is_not_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(pid_file(directory.path(), "web"), std::process::id().to_string()).unwrap();
        assert!(Process::of_domain(directory.path(), "web", VM).is_err());
        assert!(Process::of_domain(directory.path(), "gone", VM).is_err());
    }
}
