//! On what a run was judged, and what its figures stand beside.

use crate::pretrain::Config;
use crate::run::History;
use crate::transfer::classify::KnnProtocol;
use serde_json::{Value, json};

/// The photos that a run was judged on, and how.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// The protocol with its counts, for a person.
    pub told: String,
    /// Digests of the photos, where the log has them.
    digests: Option<Value>,
    /// What must be equal in any case: protocol and count; and the place of the photos, where one of two has no digests.
    counts: String,
    place: String,
}

impl Judged {
    /// As the log and the configuration say; `None` for a run that was not judged.
    pub fn of(config: &Config, history: &History) -> Option<Judged> {
        let last = history.of_kind("knn").last()?;
        let photos = last["photos"].as_u64().unwrap_or(0);
        let place = match &config.data.labelled {
            Some(place) => place.display().to_string(),
            None => "the bundled photos".into(),
        };
        let told = match serde_json::from_value::<KnnProtocol>(last["protocol"].clone()) {
            Ok(protocol) => format!("{} of {place}", protocol.told(photos as usize)),
            Err(_) => place.clone(),
        };
        let sets = history.of_kind("start").last().map(|start| &start["labelled"]);
        let digests = sets.filter(|sets| sets["test"]["digest"].is_string());
        let digests = digests.map(|sets| json!([sets["train"]["digest"], sets["test"]["digest"]]));
        Some(Judged { told, digests, counts: format!("{} {photos}", last["protocol"]), place })
    }

    /// Whether two runs were judged on the same photos in the same way.
    pub fn is_same(&self, other: &Judged) -> bool {
        let same_photos = match (&self.digests, &other.digests) {
            (Some(a), Some(b)) => a == b,
            _ => self.place == other.place,
        };
        same_photos && self.counts == other.counts
    }
}

/// The encoder and its floors: `{name, top1, error, balanced}`, the encoder first.
pub(super) fn floors(history: &History) -> Vec<Value> {
    let mut knn = history.of_kind("knn");
    let Some(first) = knn.next() else { return Vec::new() };
    let row = |name: &str, score: &Value, error: &str| {
        let top1 = score["top1"].as_f64()?;
        Some(json!({ "name": name, "top1": top1, "error": score[error], "balanced": score["balanced"] }))
    };
    let start = if first["initial_statistics"].is_null() { "at the start" } else { "untrained" };
    let trained = knn.last().and_then(|last| row("trained", last, "top1_error"));
    let floors = [
        trained,
        row("colour alone", &first["colour"], "error"),
        row(start, first, "top1_error"),
        row("untrained, statistics 0 and 1", &first["initial_statistics"], "error"),
    ];
    floors.into_iter().flatten().collect()
}
