//! `vista devices`: what there is, which one `auto` takes, and why.

use super::ranks;
use crate::engine::device::Device;
use crate::engine::device::adapter::{AdapterSummary, adapters};
use crate::error::{Error, Result, readable_bytes};
use serde_json::{Value, json};

pub(super) fn run() -> Result<Value> {
    let adapters = adapters();
    let chosen = adapters.iter().position(|a| a.is_real());
    let mut all = Vec::new();
    for (i, adapter) in adapters.iter().enumerate() {
        let AdapterSummary { name, kind, backend, driver, max_binding, .. } = adapter;
        all.push(json!({
            "device": format!("gpu:{i}"),
            "name": name,
            "kind": format!("{kind:?}"),
            "backend": format!("{backend:?}"),
            "driver": driver,
        }));
        let mark = if chosen == Some(i) { "*" } else { " " };
        let binding = readable_bytes(*max_binding);
        let note = if adapter.is_real() { "" } else { "; a software driver, taken only when asked for" };
        println!("{mark} gpu:{i}  {name}, {kind:?}, {backend:?}, {driver}, {binding} a binding{note}");
    }
    let mark = if chosen.is_none() { "*" } else { " " };
    println!("{mark} cpu  {} threads, no driver needed", rayon::current_num_threads());
    let why = match (chosen, adapters.is_empty()) {
        (Some(_), _) => "`auto` takes the marked one: the first discrete GPU, else an integrated one",
        (None, true) => "`auto` takes the CPU device: no Vulkan, Metal or DirectX 12 driver was found",
        (None, false) => "`auto` takes the CPU device: it is far faster than a software driver",
    };
    println!("{why}");
    let threads = rayon::current_num_threads();
    all.push(json!({ "device": "cpu", "threads": threads }));
    let auto = chosen.map_or("cpu".into(), |i| format!("gpu:{i}"));
    let ranks = of_ranks()?;
    for (rank, [host, device]) in ranks.iter().enumerate() {
        println!("rank {rank}  {host}, `auto`: {device}");
    }
    Ok(json!({ "devices": all, "auto": auto, "why": why, "ranks": ranks }))
}

/// Of each of several processes its machine and the device that `auto` takes in it.
fn of_ranks() -> Result<Vec<[String; 2]>> {
    let ranks = ranks::all();
    if ranks.ranks() == 1 {
        return Ok(Vec::new());
    }
    let host = sysinfo::System::host_name().unwrap_or_default();
    let device = Device::open_one_of("auto", ranks.local().0)?.name();
    let bad = |e| Error::Run(format!("ranks: {e}"));
    let all = ranks.tell(&serde_json::to_vec(&[host, device]).map_err(bad)?)?;
    all.iter().map(|told| serde_json::from_slice(told).map_err(bad)).collect()
}
