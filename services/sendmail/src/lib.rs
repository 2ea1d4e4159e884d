//! `/usr/sbin/sendmail` for programs of this machine: hands a message to the local submission socket, which knows the
//! caller by its uid. No file is setuid or setgid.
//!
//! Law: the flags of sendmail(1) that programs use; exit codes of sysexits.h.
//! Does not know: queues, DNS, configuration. Unknown `-o` options are ignored.
//! If it dies halfway: nothing was accepted; the caller sees a failure.

mod flags;
mod message;
mod talk;

pub use flags::{FlagFault, Mode, Options};
pub use message::{Message, prepare};

use std::io::{Read, Write};
use std::process::ExitCode;

/// sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Command used incorrectly.
    Usage = 64,
    /// Bad input.
    Data = 65,
    /// Addressee unknown.
    NoUser = 67,
    /// Service unavailable.
    Unavailable = 69,
    /// Try again.
    TempFail = 75,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Flags.
    #[error("{0}")]
    Usage(#[from] FlagFault),
    /// The message.
    #[error("{0}")]
    Data(&'static str),
    /// The socket.
    #[error("mail system cannot be reached: {0}")]
    Unreachable(std::io::Error),
    /// The mail system said no.
    #[error("{0}")]
    Refused(String),
}

impl Fault {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Data(_) => Exit::Data,
            Self::Unreachable(_) => Exit::TempFail,
            Self::Refused(reply) if reply.starts_with("55") => Exit::NoUser,
            Self::Refused(reply) if reply.starts_with('5') => Exit::Unavailable,
            Self::Refused(_) => Exit::TempFail,
        }
    }
}

/// Octets of a message from a local program; the mail system has a limit of its own, too.
const MESSAGE_OCTETS: u64 = 1 << 30;

/// Runs with the words of the command line.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    match act(words) {
        Ok(code) => code,
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "sendmail: {fault}");
            ExitCode::from(fault.exit() as u8)
        }
    }
}

fn act(words: &[String]) -> Result<ExitCode, Fault> {
    let options = Options::parse(words)?;
    match options.mode {
        // There is no alias database to rebuild.
        Mode::NewAliases => Ok(ExitCode::SUCCESS),
        Mode::List => Ok(mox(&["queue", "list"])),
        Mode::Flush => Ok(mox(&["queue", "kick"])),
        Mode::Smtp => talk::pass_through().map(|()| ExitCode::SUCCESS).map_err(Fault::Unreachable),
        Mode::Send => {
            let mut input = Vec::new();
            std::io::stdin()
                .lock()
                .take(MESSAGE_OCTETS)
                .read_to_end(&mut input)
                .map_err(|_| Fault::Data("message cannot be read"))?;
            talk::send(&options, &input)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The queue belongs to administrators: `mox` asks the bus, and polkit.
fn mox(words: &[&str]) -> ExitCode {
    match std::process::Command::new("mox").args(words).status() {
        Ok(status) => u8::try_from(status.code().unwrap_or(1)).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sendmail: mox cannot be run: {error}");
            ExitCode::from(Exit::Unavailable as u8)
        }
    }
}
