//! The `vista` command.

mod allocator;

fn main() {
    std::process::exit(vista::cli::run());
}
