//! The `vista` command.

mod memory;

fn main() {
    std::process::exit(vista::cli::run());
}
