//! What browsers load: the page, and the client library under the address that its document names.

use crate::support::Hub;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_library_is_served_to_everyone_and_fetched_once() {
    let hub = Hub::with_tokens().await;
    for (name, media_type, holds) in [
        ("websocket.js", "text/javascript", "class ATPWebSocket"),
        ("websocket.mjs", "text/javascript", "export const { ATPWebSocket, useATPWebSocket }"),
        ("websocket.d.ts", "text/plain", "export class ATPWebSocket"),
        ("websocket.d.mts", "text/plain", "export * from"),
    ] {
        let path = format!("/static/v2/js/{name}");
        let answer = hub.get(&path).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.body.as_str().is_some_and(|text| text.contains(holds)), "{name}: {}", answer.body);
        let head = answer.head.to_lowercase();
        assert!(head.contains(&format!("content-type: {media_type}; charset=utf-8")), "{head}");
        assert!(head.contains("cache-control: no-cache") && head.contains("nosniff"), "{head}");
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();

        for (known, status) in [(tag.clone(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".to_owned(), 200)] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", hub.server.address);
            let again = hub.raw(format!("{head}If-None-Match: {known}\r\nConnection: close\r\n\r\n").as_bytes()).await;
            assert_eq!(again.status, status, "{name} when {known} is known");
            assert_eq!(again.body.as_str().is_some_and(str::is_empty), status == 304, "{name}");
        }
    }
    for path in ["/static/v2/js/none.js", "/static/v2/js/..%2Fjs%2Fwebsocket.js", "/static/v2/js/"] {
        let answer = hub.get(path).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (404, Some("NOT_FOUND")), "{path}");
    }
    hub.server.stop().await;
}
