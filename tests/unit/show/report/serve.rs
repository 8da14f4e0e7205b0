use super::*;
use crate::pretrain::Config;

#[test]
fn a_run_is_served_to_this_machine_alone_and_shows_what_was_logged_since() {
    let folder = tempfile::tempdir().expect("folder");
    let config = Config::preset("demo").expect("preset");
    std::fs::write(folder.path().join("config.toml"), config.to_toml()).expect("written");
    let log = folder.path().join("log.jsonl");
    std::fs::write(&log, "{\"kind\":\"step\",\"step\":1,\"views\":8,\"loss\":2.5}\n").expect("written");
    let listener = listen(0).expect("a port");
    let port = listener.local_addr().expect("address").port();
    let live = Live::new(folder.path(), 0, "cpu", |_| {}).expect("a run");
    std::thread::spawn(move || serve(&listener, &live));
    let ask = |request: &str, host: &str| {
        let mut client = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        write!(client, "{request}\r\nHost: {host}\r\n\r\n").expect("asked");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("answered");
        text
    };
    let home = format!("127.0.0.1:{port}");
    let page = ask("GET / HTTP/1.1", &home);
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("<html"), "{page:.300}");
    assert!(ask("GET /run.json HTTP/1.1", &home).contains("loss 2.5\\nviews seen 8<"));
    std::fs::write(&log, "{\"kind\":\"step\",\"step\":2,\"views\":16,\"loss\":1.5}\n").expect("written");
    assert!(ask("GET /run.json?x HTTP/1.1", "localhost:1").contains("loss 1.5\\nviews seen 16<"));
    assert!(ask("GET /photos.json HTTP/1.1", &home).contains("without photos"));
    assert!(ask("GET / HTTP/1.1", "evil.example").contains("403"));
    assert!(ask("GET /etc/passwd HTTP/1.1", &home).contains("404"));
    assert!(ask("POST / HTTP/1.1", &home).contains("405") && ask("", &home).contains("405"));
    assert!(Live::new(&folder.path().join("none"), 0, "cpu", |_| {}).is_err());
}
