//! The page of a run while it goes on, served on loopback.

use super::facts::{RunFacts, state};
use super::gallery::{checkpoint_of, gallery, missing};
use super::page::page;
use super::run::charts;
use crate::engine::device::Device;
use crate::error::{Error, Result, no_thread};
use crate::run::History;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A client that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the checkpoint is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The longest request that is read.
const LONGEST: u64 = 16 * 1024;

/// The photos as they were last embedded, and how often that happened.
#[derive(Debug)]
struct Shown {
    gallery: Value,
    version: u64,
}

/// A run that is being watched.
#[derive(Debug)]
pub struct Live {
    folder: PathBuf,
    shown: Arc<Mutex<Shown>>,
}

impl Live {
    /// Watches a run's folder: whenever its checkpoint is written anew, `photos` of its photos are embedded again in the
    /// background (0: never) on what `device` asks for (see [`Device::open`]), opened for that long alone. `tell` hears a
    /// sentence whenever the run starts, ends or is cut off.
    ///
    /// # Errors
    /// As [`RunFacts::read`]; [`Error::Run`] if no thread can be started.
    pub fn new(
        folder: &(impl AsRef<Path> + ?Sized),
        photos: usize,
        device: &str,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Live> {
        let folder = folder.as_ref();
        RunFacts::read(folder)?;
        let why =
            if photos == 0 { "Watched without photos." } else { "Photos come with the first checkpoint." };
        let shown = Arc::new(Mutex::new(Shown { gallery: missing(why), version: 0 }));
        let (path, device, photos_shown) = (folder.to_path_buf(), device.to_string(), shown.clone());
        let follower = move || follow(&path, photos, &device, &photos_shown, &tell);
        std::thread::Builder::new().spawn(follower).map_err(no_thread)?;
        Ok(Live { folder: folder.to_path_buf(), shown })
    }

    /// What a path gives: the type of its content, and the content. `None` if there is no such path.
    ///
    /// # Errors
    /// As [`RunFacts::read`].
    pub fn answer(&self, path: &str) -> Result<Option<(&'static str, String)>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || Ok([RunFacts::read(&self.folder)?]);
        Ok(match path {
            "/" => Some(("text/html", page(&run()?, &shown.gallery, Some(shown.version)))),
            "/run.json" => {
                let run = run()?;
                let news = json!({ "run": run[0].json, "charts": charts(&run), "photos": shown.version });
                Some(("application/json", news.to_string()))
            }
            "/photos.json" => Some(("application/json", shown.gallery.to_string())),
            _ => None,
        })
    }
}

/// Tells how the run is when that has changed, and embeds the photos whenever the checkpoint has.
fn follow(folder: &Path, photos: usize, device: &str, shown: &Mutex<Shown>, tell: &impl Fn(&str)) {
    let (mut seen, mut told): (Option<SystemTime>, _) = (None, String::new());
    loop {
        let [word, sentence] = state(folder, &History::tail(&folder.join("log.jsonl")));
        if word != told {
            tell(&sentence);
            told = word;
        }
        let written = std::fs::metadata(checkpoint_of(folder)).and_then(|m| m.modified()).ok();
        if photos > 0 && written.is_some() && written != seen {
            seen = written;
            // The run itself may use the GPU: between checkpoints none of its memory is held.
            let found =
                Device::open(device).and_then(|device| gallery(folder, photos, &device, &mut |_, _| ()));
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            let version = shown.version + 1;
            let gallery = found.unwrap_or_else(|e| missing(format!("No photos: {e}.")));
            *shown = Shown { gallery, version };
        }
        std::thread::sleep(LOOK);
    }
}

/// Answers requests for ever.
///
/// A page for one person on this machine needs no more of HTTP than GET, so this is all of the server: the small server
/// crates are no longer kept up, the others bring an asynchronous runtime.
pub fn serve(listener: &TcpListener, live: &Live) {
    for client in listener.incoming().flatten() {
        // A client that goes away is its own business.
        let _ = talk(client, live);
    }
}

fn talk(mut client: TcpStream, live: &Live) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&client).take(LONGEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> = lines.map_while(|line| line.ok().filter(|line| !line.is_empty())).collect();
    let (status, kind, body) = answer(&request, &headers, live);
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )?;
    client.write_all(body.as_bytes())?;
    client.flush()
}

/// Status, type and content for a request line and its headers.
fn answer(request: &str, headers: &[String], live: &Live) -> (&'static str, &'static str, String) {
    let host = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    // Another site's name that leads here is not this page's.
    if !matches!(name, Some("127.0.0.1" | "localhost")) {
        return ("403 Forbidden", "text/plain", "only for this machine".into());
    }
    let mut words = request.split_whitespace();
    let (Some("GET"), Some(target)) = (words.next(), words.next()) else {
        return ("405 Method Not Allowed", "text/plain", "only GET".into());
    };
    let path = target.split('?').next().unwrap_or(target);
    match live.answer(path) {
        Ok(Some((kind, body))) => ("200 OK", kind, body),
        Ok(None) => ("404 Not Found", "text/plain", "no such page".into()),
        Err(error) => ("500 Internal Server Error", "text/plain", error.to_string()),
    }
}

/// A listener on loopback; port 0 takes any that is free.
///
/// # Errors
/// [`Error::Input`] if the port is taken.
pub fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).map_err(|e| {
        Error::input(format!("port {port} can't be used ({e})"), "--port", "name another, or 0 for any")
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/show/report/serve.rs"]
mod tests;
