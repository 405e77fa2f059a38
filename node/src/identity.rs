//! Who this node is: an ed25519 key in a file that only its owner can read.
//!
//! The key is the node's only credential towards the other hosts, for the transport and for the
//! carrier alike. It is never printed: `Debug` shows the peer id, and no error carries file
//! contents.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use thiserror::Error;

/// A key file is 68 bytes; whatever is much larger is something else.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// The key pair of a node.
#[derive(Clone)]
pub struct NodeIdentity {
    keypair: Keypair,
}

/// Why a key could not be loaded or made.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// There is no such file.
    #[error(
        "the key file {0} does not exist; make one with `lifeboat init`, or set key_file to where it is"
    )]
    Missing(PathBuf),
    /// Something else has the name.
    #[error(
        "the key file {0} is a directory; set key_file to the file in it, or make a key with `lifeboat \
         init`"
    )]
    Directory(PathBuf),
    /// Others than the owner can read or change the file.
    #[error(
        "the key file {path} has mode {mode:04o}, so others than its owner can use it; \
         run `chmod 600 {path}`, and make a new key if somebody may have read this one"
    )]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error(
        "the key file {0} does not hold an ed25519 node key; restore it from a backup, \
         or move it away, make a new one with `lifeboat init` and give its peer id to the other hosts"
    )]
    Malformed(PathBuf),
    /// A file is there already.
    #[error(
        "the key file {0} exists already and is not overwritten; move it away to make a new one"
    )]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot {doing} the key file {path}: {cause}")]
    Io {
        /// Read or write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl NodeIdentity {
    /// A new key from the system's randomness, in memory only.
    pub fn generate() -> Self {
        Self { keypair: Keypair::generate_ed25519() }
    }

    /// Reads the key. Refuses a file that is missing, malformed, or readable by group or others.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
            _ => IdentityError::Io { doing: "read", path: path.to_owned(), cause },
        };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(IdentityError::Directory(path.to_owned()));
        }
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::ReadableByOthers { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Keypair::from_protobuf_encoding(&bytes)
            .ok()
            .filter(|keypair| keypair.clone().try_into_ed25519().is_ok())
            .map(|keypair| Self { keypair })
            .ok_or_else(|| IdentityError::Malformed(path.to_owned()))
    }

    /// Writes the key with mode 0600. Never overwrites; a file that was begun and could not be
    /// finished is taken away again.
    pub fn store(&self, path: &Path) -> Result<(), IdentityError> {
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::Exists(path.to_owned()),
            _ => IdentityError::Io { doing: "write", path: path.to_owned(), cause },
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(&self.to_protobuf()).and_then(|()| file.sync_all()).map_err(|cause| {
            let _ = std::fs::remove_file(path);
            failed(cause)
        })
    }

    /// The public name of this key, which the other hosts list.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// The key pair, for the transport.
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// The secret in the encoding of the key file, for the carrier process. Never log it.
    pub fn to_protobuf(&self) -> Vec<u8> {
        self.keypair.to_protobuf_encoding().expect("an ed25519 key always has a protobuf encoding")
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeIdentity({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn stored() -> (tempfile::TempDir, PathBuf, NodeIdentity) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let identity = NodeIdentity::generate();
        identity.store(&path).unwrap();
        (dir, path, identity)
    }

    #[test]
    fn a_stored_key_loads_and_is_private() {
        let (_dir, path, identity) = stored();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(NodeIdentity::load(&path).unwrap().peer_id(), identity.peer_id());
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_dir, path, identity) = stored();
        let second = NodeIdentity::generate().store(&path);
        assert!(matches!(second, Err(IdentityError::Exists(_))));
        assert_eq!(NodeIdentity::load(&path).unwrap().peer_id(), identity.peer_id());
    }

    #[test]
    fn a_directory_is_called_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = NodeIdentity::load(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Directory(_)), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, path, _) = stored();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let message = NodeIdentity::load(&path).unwrap_err().to_string();
        assert!(message.contains("0640") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn a_missing_or_malformed_key_says_how_to_go_on() {
        let (dir, path, _) = stored();
        let missing = NodeIdentity::load(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("lifeboat init"), "{missing}");
        for contents in [&b""[..], b"garbage", &[8, 1, 18, 64, 1, 2, 3]] {
            fs::write(&path, contents).unwrap();
            assert!(matches!(NodeIdentity::load(&path), Err(IdentityError::Malformed(_))));
        }
    }

    #[test]
    fn printing_an_identity_shows_no_secret() {
        let identity = NodeIdentity::generate();
        assert_eq!(format!("{identity:?}"), format!("NodeIdentity({})", identity.peer_id()));
    }
}
