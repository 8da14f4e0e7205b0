//! `vista watch`.

use super::paths::Input;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::show::report::{Live, listen, serve};

/// Show the report of a run in a browser on this machine while the run goes on; ends by Ctrl-C.
///
/// Curves follow the log. The photos are embedded again whenever the run writes its checkpoint. When the run ends, is stopped or
/// was killed, page and terminal say so; the page stays until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the run.
    #[arg(value_name = "RUN")]
    run: Input,
    /// Port on 127.0.0.1; 0 for any that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Photos on the page; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 200)]
    photos: usize,
    /// `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, `gpu:NAME` or `auto`, to embed the photos. The run may need the GPU's
    /// memory for itself.
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    // A device that is not there is told at once.
    Device::open(&args.device)?;
    let live = Live::new(&args.run, args.photos, &args.device, |state| println!("{state}"))?;
    let listener = listen(args.port)?;
    let address = listener.local_addr().map_err(|e| Error::Run(format!("no address: {e}")))?;
    println!("http://{address}/  (Ctrl-C ends)");
    serve(&listener, &live);
    Ok(())
}
