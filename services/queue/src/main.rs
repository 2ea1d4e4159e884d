//! `mox-queue`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_queue::main()
}
