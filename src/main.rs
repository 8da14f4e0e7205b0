//! The `vista` command.

mod allocator;

/// Keeps a layer of Mesa's out of the Vulkan loader, which only sorts devices and complains on standard error where there is
/// no desktop session; somebody who uses the layer keeps it.
fn be_quiet_in_vulkan() {
    if std::env::var_os("MESA_VK_DEVICE_SELECT").is_none() {
        // SAFETY: nothing else runs yet that could read or write the environment meanwhile: this is the first thing
        // that the only thread of the program does.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

fn main() {
    be_quiet_in_vulkan();
    std::process::exit(vista::cli::run());
}
