//! The `vista` command.

fn main() {
    std::process::exit(vista::cli::run());
}
