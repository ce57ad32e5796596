//! axum: curl, and Python's `websockets`.

use std::time::Duration;

use divisi_examples::web;

use crate::ANY_PORT;
use crate::peers::{self, run, text};
use crate::websocket::ECHO_CLIENT;

const GRACE: Duration = Duration::from_secs(30);

#[divisi::test(worker_threads = 2)]
async fn curl_uses_json_query_and_state() {
    let Some(curl) = peers::program("curl") else {
        return;
    };
    let server = web::serve(ANY_PORT).await.unwrap();
    let base = format!("http://{}", server.address());
    let ask = async |path: &str, more: &[&str]| {
        let url = format!("{base}{path}");
        let mut args = vec!["-sS", "--max-time", "30", "-w", "|%{http_code}"];
        args.extend(more);
        args.push(&url);
        text(&run(&curl, args, "").await.stdout)
    };
    assert_eq!(ask("/greet?name=Ada%20L", &[]).await, "Hello, Ada L!|200");
    assert!(ask("/greet", &[]).await.ends_with("|400"));
    assert_eq!(ask("/nowhere", &[]).await, "|404");

    let json = ["-H", "content-type: application/json", "-d"];
    let post = |body| [&json[..], &[body]].concat();
    assert_eq!(
        ask("/sum", &post(r#"{"numbers":[1.5,2,3]}"#)).await,
        r#"{"sum":6.5,"count":3}|200"#
    );
    assert_eq!(ask("/sum", &post(r#"{"numbers":[]}"#)).await, "|422");
    assert!(ask("/sum", &post("{")).await.ends_with("|400"));
    assert!(ask("/sum", &["-d", "{}"]).await.ends_with("|415"));

    for visit in 1..=3 {
        assert_eq!(ask("/visits", &[]).await, format!("{visit}|200"));
    }
    assert!(ask("/ws", &[]).await.ends_with("|400"));
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn curl_receives_server_sent_events() {
    let Some(curl) = peers::program("curl") else {
        return;
    };
    let server = web::serve(ANY_PORT).await.unwrap();
    let url = format!("http://{}/ticks?count=3", server.address());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let args = ["-sSN", "--max-time", "30", version, &url];
        let events = text(&run(&curl, args, "").await.stdout);
        let expected: String = (0..3)
            .map(|i| format!("event: tick\ndata: {i}\n\n"))
            .collect();
        assert_eq!(events, expected);
    }
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn pythons_websockets_talks_to_the_upgraded_request() {
    let Some(python) = peers::python(&["websockets"]) else {
        return;
    };
    let server = web::serve(ANY_PORT).await.unwrap();
    let url = format!("ws://{}/ws", server.address());
    let output = run(&python, ["-c", ECHO_CLIENT, &url], "").await;
    assert_eq!(text(&output.stdout), "fine\n");
    assert!(server.shutdown(GRACE).await);
}
