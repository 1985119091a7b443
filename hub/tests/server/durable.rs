//! What was answered is in the record, even if the hub dies with its next breath: read here beside the hub, from its file.

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::Hub;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_after_what_it_says_is_on_disk() {
    let hub = Hub::start().await;
    let start = json!({"external": true, "kind": "solve", "name": "reporter"});
    let answer = hub.request("POST", "/api/v1/runs", &start.to_string()).await;
    let run = answer.body["id"].as_str().unwrap().to_owned();
    let file = hub.data().join("rigwire.db");
    let record = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let query = "SELECT count(*) FROM events WHERE run = ?1 AND type = 'log'";
    // A race that is lost one time in ten would be seen.
    for number in 1..=200 {
        let batch = json!([{"id": number.to_string(), "type": "log", "level": "info", "message": "said"}]);
        let answer = hub.request("POST", &format!("/api/v1/runs/{run}/events"), &batch.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let kept: i64 = record.query_row(query, [&run], |row| row.get(0)).unwrap();
        assert_eq!(kept, number, "what was just acknowledged is not in the record");
    }
    hub.server.stop().await;
}
