//! Files of runs over HTTP: whole and in part, cached, listed, and none that the record does not name.

use crate::support::{Answer, Hub, says, waits};
use rigwire_shared::ids::RunId;

/// What the digest of `0123456789` is.
const DIGITS_HASH: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

/// A run that goes on, and its id.
async fn run(hub: &Hub) -> RunId {
    RunId(hub.run(&waits("1h")).await.0.parse().unwrap())
}

async fn keep(hub: &Hub, run: RunId, name: &str, media_type: &str, bytes: &[u8]) -> String {
    let (name, media_type, bytes) = (name.to_owned(), media_type.to_owned(), bytes.to_vec());
    let kept = hub.server.app.hub.ask(move |core, now| core.model.keep_artifact(run, &name, &media_type, bytes, now));
    kept.await.unwrap().expect("the file was not kept")
}

async fn ask(hub: &Hub, method: &str, path: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    hub.raw(request.as_bytes()).await
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_served_whole_and_in_part() {
    let hub = Hub::start().await;
    let path = keep(&hub, run(&hub).await, "digits.txt", "text/plain", b"0123456789").await;
    let url = format!("/api/v1/artifacts/{path}");
    let whole = ask(&hub, "GET", &url, &[]).await;
    assert_eq!((whole.status, plain(&whole).as_str()), (200, "0123456789"));
    let tag = format!("\"{DIGITS_HASH}\"");
    for (name, expected) in [
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("etag", &tag),
        ("x-content-type-options", "nosniff"),
        ("content-disposition", "inline; filename=\"digits.txt\"; filename*=UTF-8''digits.txt"),
        ("content-security-policy", "default-src 'none'; sandbox"),
    ] {
        assert_eq!(header(&whole, name).as_deref(), Some(expected), "{name} in\n{}", whole.head);
    }
    let other = format!("If-Range: \"{}\"", "0".repeat(64));
    let same = format!("If-Range: {tag}");
    for (headers, status, range, body) in [
        (&["Range: bytes=2-4"][..], 206, Some("bytes 2-4/10"), "234"),
        (&["Range: bytes=8-"], 206, Some("bytes 8-9/10"), "89"),
        (&["Range: bytes=-3"], 206, Some("bytes 7-9/10"), "789"),
        (&["Range: bytes=9-100"], 206, Some("bytes 9-9/10"), "9"),
        (&["Range: bytes=2-4", &same], 206, Some("bytes 2-4/10"), "234"),
        (&["Range: bytes=2-4", &other], 200, None, "0123456789"),
        (&["Range: bytes=4-2"], 200, None, "0123456789"),
        (&["Range: bytes=0-1,4-5"], 200, None, "0123456789"),
        (&["Range: bytes=10-"], 416, Some("bytes */10"), "has 10 bytes"),
    ] {
        let answer = ask(&hub, "GET", &url, headers).await;
        assert_eq!((answer.status, header(&answer, "content-range").as_deref()), (status, range), "{headers:?}");
        let text = if answer.status == 416 { answer.body["detail"].to_string() } else { plain(&answer) };
        assert!(if status == 416 { text.contains(body) } else { text == body }, "{headers:?}: {text}");
    }
    for (tags, status) in [(tag.as_str(), 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200)] {
        let answer = ask(&hub, "GET", &url, &[&format!("If-None-Match: {tags}")]).await;
        assert_eq!((answer.status, header(&answer, "etag")), (status, Some(tag.clone())), "{tags}");
    }
    let head = ask(&hub, "HEAD", &url, &["Range: bytes=2-4"]).await;
    assert_eq!((head.status, header(&head, "content-length").as_deref(), plain(&head).as_str()), (200, Some("10"), ""));
    let post = ask(&hub, "POST", &url, &[]).await;
    assert_eq!((post.status, post.body["code"].as_str()), (405, Some("METHOD_NOT_ALLOWED")));
    hub.server.stop().await;
}

/// A body that may read as a number, too.
fn plain(answer: &Answer) -> String {
    answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_run_in_a_browser_is_saved_and_not_shown() {
    let hub = Hub::start().await;
    let id = run(&hub).await;
    for (name, media_type) in
        [("x.html", "text/html"), ("x.svg", "image/svg+xml"), ("x.xml", "text/xml"), ("Ü \"x\".js", "text/javascript")]
    {
        let path = keep(&hub, id, name, media_type, b"<svg onload='alert(1)'/>").await;
        let listed = hub.get(&format!("/api/v1/runs/{id}/artifacts")).await.body;
        let row =
            listed["artifacts"].as_array().unwrap().iter().find(|row| row["path"] == path.as_str()).unwrap().clone();
        let answer = ask(&hub, "GET", row["url"].as_str().unwrap(), &[]).await;
        assert_eq!((answer.status, header(&answer, "content-type").as_deref()), (200, Some(media_type)), "{row}");
        let disposition = header(&answer, "content-disposition").unwrap();
        assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
        assert_eq!(header(&answer, "content-security-policy").as_deref(), Some("default-src 'none'; sandbox"));
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_what_the_record_names_is_there() {
    let hub = Hub::start().await;
    let path = keep(&hub, run(&hub).await, "x.csv", "text/csv", b"a,b\n").await;
    let id = path.split('/').next().unwrap();
    for wrong in [
        "../rigwire.db".to_owned(),
        "..%2frigwire.db".to_owned(),
        "%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
        "%2fetc%2fpasswd".to_owned(),
        format!("{id}/../{id}/x.csv"),
        format!("{id}/./x.csv"),
        format!("{id}//x.csv"),
        format!("{id}/x.csv%00"),
        format!("{id}/X.CSV"),
        format!("{id}/%25"),
        format!("{id}/' OR 1=1 --").replace(' ', "%20"),
        id.to_owned(),
        "84/84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882".to_owned(),
    ] {
        let answer = hub.get(&format!("/api/v1/artifacts/{wrong}")).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (404, Some("UNKNOWN_ARTIFACT")), "{wrong}");
    }
    let answer = hub.get("/api/v1/artifacts/%ff").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("BAD_REQUEST")), "{}", answer.body);
    assert_eq!(hub.get(&format!("/api/v1/artifacts/{path}")).await.status, 200);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_content_is_kept_once_and_a_name_is_given_once() {
    let hub = Hub::start().await;
    let id = run(&hub).await;
    for (name, kept) in [("x.csv", "x.csv"), ("x.csv", "x-2.csv"), ("a/b\n", "a-b"), ("", "file")] {
        assert_eq!(keep(&hub, id, name, "text/csv", b"0123456789").await, format!("{id}/{kept}"));
    }
    let listed = hub.get(&format!("/api/v1/runs/{id}/artifacts?limit=2")).await.body;
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["artifacts"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["x.csv", "x-2.csv"]);
    assert_eq!((&listed["artifacts"][0]["sha256"], &listed["artifacts"][0]["size"]), (&DIGITS_HASH.into(), &10.into()));
    let rest = hub.get(&format!("/api/v1/runs/{id}/artifacts?after={}", listed["next"])).await.body;
    assert_eq!(names(&rest), ["a-b", "file"]);
    let files = std::fs::read_dir(hub.data().join("artifacts").join("84")).unwrap().count();
    assert_eq!((files, std::fs::read_dir(hub.data().join("artifacts").join("partial")).unwrap().count()), (1, 0));
    let events = hub.get(&format!("/api/v1/runs/{id}/events?limit=5000")).await.body;
    let told: Vec<&serde_json::Value> =
        events["events"].as_array().unwrap().iter().filter(|event| event["type"] == "artifact").collect();
    assert_eq!((told.len(), &told[1]["path"]), (4, &format!("{id}/x-2.csv").into()));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_kept_is_named_in_the_log() {
    let hub = Hub::start().await;
    let id = run(&hub).await;
    let large = vec![0; (64 << 20) + 1];
    let kept = hub.server.app.hub.ask(move |core, now| {
        core.model.set_artifact_limits(rigwire::artifact::Limits { file: 64 << 20, run: 100 << 20 });
        core.model.keep_artifact(id, "large.bin", "application/octet-stream", large, now)
    });
    assert_eq!(kept.await.unwrap(), None);
    let events = hub.get(&format!("/api/v1/runs/{id}/events?limit=5000")).await.body;
    let warned = events["events"].as_array().unwrap().iter().any(|event| {
        event["level"] == "warning"
            && event["message"].as_str().is_some_and(|message| {
                message == "file large.bin is not kept: it has 67108865 bytes, a file may have 67108864"
            })
    });
    assert!(warned, "{events}");
    // Of a run that ended nothing more is kept: its last event is its end.
    let ended: RunId = RunId(hub.run(&says("x")).await.0.parse().unwrap());
    let late =
        hub.server.app.hub.ask(move |core, now| core.model.keep_artifact(ended, "x", "text/plain", vec![1], now));
    assert_eq!(late.await.unwrap(), None);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_there_after_a_restart() {
    let hub = Hub::start().await;
    let id = run(&hub).await;
    let path = keep(&hub, id, "x.csv", "text/csv", b"a,b\n").await;
    hub.server.app.hub.store().barrier().await.unwrap();
    let hub = hub.restart().await;
    let answer = hub.get(&format!("/api/v1/artifacts/{path}")).await;
    assert_eq!((answer.status, plain(&answer).as_str()), (200, "a,b\n"), "{}", answer.head);
    assert_eq!(keep(&hub, id, "x.csv", "text/csv", b"c").await, format!("{id}/x-2.csv"));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_links_files_and_shows_pictures() {
    let hub = Hub::start().await;
    let id = run(&hub).await;
    keep(&hub, id, "board.png", "image/png", include_bytes!("../report/board.png")).await;
    keep(&hub, id, "lies.png", "image/png", b"<script>alert(1)</script>").await;
    let path = keep(&hub, id, "a b.csv", "text/csv", b"x\n").await;
    let html = hub.get(&format!("/api/v1/reports/{id}?format=html")).await;
    let policy = header(&html, "content-security-policy").unwrap();
    assert_eq!(policy, "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox");
    let page = plain(&html);
    assert!(
        page.contains(&format!("<a href=\"/api/v1/artifacts/{}\">a b.csv</a>", path.replace(' ', "%20"))),
        "{page}"
    );
    assert_eq!((page.matches("<img ").count(), page.matches("<script").count()), (1, 0), "{page}");
    let pdf = ask(&hub, "GET", &format!("/api/v1/reports/{id}?format=pdf"), &[]).await;
    assert!(plain(&pdf).contains("/Subtype /Image"));
    hub.server.stop().await;
}
