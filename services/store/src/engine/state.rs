//! The small file that says how far the folder can be trusted: `index/state`, replaced as a whole and synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What a start needs to know about the end before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which of the `index/<n>` folders is the index.
    pub generation: u64,
    /// The boot during which the index was last open.
    pub boot: Option<String>,
    /// Everything was synced and nothing was open any more.
    pub clean: bool,
    /// All file operations up to this journal position are done and synced.
    pub files: u64,
}

/// Raised when the index is laid out differently: it is built anew then.
const FORMAT: &str = "3";

impl State {
    /// Reads it; `None` when there is none or it makes no sense.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(dir.join("state")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            text => text?,
        };
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
        };
        if value("format")? != FORMAT || !text.ends_with("end\n") {
            return None;
        }
        Some(Self {
            generation: value("generation")?.parse().ok()?,
            boot: value("boot"),
            clean: value("clean")? == "yes",
            files: value("files")?.parse().ok()?,
        })
    }

    /// Replaces it.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let boot = self.boot.as_ref().map_or(String::new(), |boot| format!("boot {boot}\n"));
        let text = format!(
            "format {FORMAT}\ngeneration {}\n{boot}clean {}\nfiles {}\nend\n",
            self.generation,
            if self.clean { "yes" } else { "no" },
            self.files
        );
        let path = dir.join("state.new");
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(path, dir.join("state"))?;
        File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_less() {
        let dir = tempfile::tempdir().expect("tempdir");
        assert_eq!(State::read(dir.path()).expect("read"), None);
        for boot in [None, Some("b-1".to_owned())] {
            let state = State { generation: 3, boot, clean: true, files: 99 };
            state.write(dir.path()).expect("write");
            assert_eq!(State::read(dir.path()).expect("read"), Some(state));
        }
        let whole = fs::read(dir.path().join("state")).expect("read");
        for cut in 0..whole.len() {
            fs::write(dir.path().join("state"), &whole[..cut]).expect("write");
            assert_eq!(State::read(dir.path()).expect("read"), None, "cut at {cut}");
        }
    }
}
