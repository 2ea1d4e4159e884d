//! Key files: written whole or not at all, readable by this service only.

use crate::KeysError;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Octets of a key or certificate file.
const FILE_OCTETS: u64 = 1 << 20;

/// The file's bytes; none if it is absent.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, KeysError> {
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(FILE_OCTETS).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(fault(path, cause)),
    }
}

/// Writes under another name, syncs, renames, syncs the folder.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|cause| fault(path, cause))
}

/// An I/O error with the path it happened at.
pub fn fault(path: &Path, cause: io::Error) -> KeysError {
    KeysError::File { path: path.display().to_string(), cause }
}
