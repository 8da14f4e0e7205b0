//! Pictures on a page.

use crate::photos::Rgb;
use crate::show::figures::encoded_jpeg;
use base64::prelude::{BASE64_STANDARD, Engine};

/// A picture as a JPEG in base 64.
pub(super) fn jpeg(rgb: &Rgb, quality: u8) -> std::result::Result<String, String> {
    let bytes = encoded_jpeg(rgb, quality).map_err(|e| e.to_string())?;
    Ok(BASE64_STANDARD.encode(bytes))
}
