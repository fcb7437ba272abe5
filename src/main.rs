//! The binary: the library's first user.

use std::process::ExitCode;

fn main() -> ExitCode {
    goniec::cli::main()
}
