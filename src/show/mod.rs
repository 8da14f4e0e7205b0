//! What a run has written, to look at: [figures] as SVG and PNG, and a [report] as one page.

pub mod figures;
pub mod report;
