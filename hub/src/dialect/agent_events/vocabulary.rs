//! The names that a subscription may use, in the protocol's three spellings: `TASK_STARTED`, `task.started` and
//! `workflowStart`. Knows no session.

pub(super) const STARTED: &str = "workflow.started";
pub(super) const PROGRESS: &str = "workflow.progress";
pub(super) const COMPLETED: &str = "workflow.completed";
pub(super) const FAILED: &str = "workflow.failed";
pub(super) const NODE_STATUS: &str = "workflow.node_status_update";
pub(super) const TOOL_EXECUTED: &str = "tool.executed";
pub(super) const TOOL_FAILED: &str = "tool.failed";
pub(super) const LOG: &str = "log.entry";
pub(super) const STREAM: &str = "event.stream";
/// How this client's own commands come along.
pub(super) const DSL_PROGRESS: &str = "dsl.progress";
pub(super) const DSL_RESULT: &str = "dsl.completed";
pub(super) const CHAT: &str = "chat.message";

/// What a client gets until it subscribes to something.
pub(super) const DEFAULT: [&str; 11] = [
    STARTED,
    PROGRESS,
    COMPLETED,
    FAILED,
    NODE_STATUS,
    TOOL_EXECUTED,
    TOOL_FAILED,
    LOG,
    DSL_PROGRESS,
    DSL_RESULT,
    CHAT,
];

/// The topics that one name stands for: none for what this hub never says, `None` for an unknown name.
pub(super) fn topics(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "workflowStart" => &[STARTED],
        "workflowProgress" => &[PROGRESS],
        "workflowComplete" => &[COMPLETED],
        "workflowError" => &[FAILED],
        "nodeStatusUpdate" => &[NODE_STATUS],
        "workflowLog" => &[LOG],
        "eventStream" => &[STREAM],
        "chatMessage" => &[CHAT],
        "dslProgress" => &[DSL_PROGRESS],
        "dslResult" => &[DSL_RESULT],
        other => return dotted(&other.to_ascii_lowercase().replace('_', ".")),
    })
}

/// Underscores were turned into dots, so that both other spellings meet here.
fn dotted(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "task.started" | "workflow.started" | "workflow.start" => &[STARTED],
        "task.progress" | "workflow.progress" => &[PROGRESS],
        "task.completed" | "workflow.completed" | "workflow.complete" => &[COMPLETED],
        "task.failed" | "task.cancelled" | "workflow.failed" | "workflow.error" => &[FAILED],
        "workflow.node.status.update" | "node.status.update" => &[NODE_STATUS],
        "tool.executed" | "tool.completed" => &[TOOL_EXECUTED],
        "tool.failed" => &[TOOL_FAILED],
        "tool.result" | "p2p.tool.response" => &[TOOL_EXECUTED, TOOL_FAILED],
        "log.entry" | "log.stream" | "workflow.log" => &[LOG],
        "event.stream" => &[STREAM],
        "dsl.progress" | "dsl.command.progress" => &[DSL_PROGRESS],
        "dsl.completed" | "dsl.command.completed" | "dsl.result" => &[DSL_RESULT],
        "chat.message" | "chat.response" | "dsl.command.received" => &[CHAT],
        "task.created" | "tool.starting" => &[],
        // Of agents' own business and of the bus nothing is told here, and asking for it is no mistake.
        other => return ["agent.", "system.", "p2p.", "ws."].iter().any(|of| other.starts_with(of)).then_some(&[]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_name_one_topic() {
        for (names, expected) in [
            (["TASK_STARTED", "task.started", "workflowStart"], STARTED),
            (["TASK_PROGRESS", "task.progress", "workflowProgress"], PROGRESS),
            (["TASK_COMPLETED", "task.completed", "workflowComplete"], COMPLETED),
            (["TASK_FAILED", "task.failed", "workflowError"], FAILED),
            (["NODE_STATUS_UPDATE", "workflow.node_status_update", "nodeStatusUpdate"], NODE_STATUS),
            (["DSL_PROGRESS", "dsl.progress", "dslProgress"], DSL_PROGRESS),
            (["DSL_RESULT", "dsl.completed", "dslResult"], DSL_RESULT),
            (["CHAT_MESSAGE", "chat.message", "chatMessage"], CHAT),
        ] {
            for name in names {
                assert_eq!(topics(name), Some(&[expected][..]), "{name}");
            }
        }
        for nothing in ["agent.card_updated", "p2p.peer_discovered", "ws.connected", "task.created", "TOOL_STARTING"] {
            assert_eq!(topics(nothing), Some(&[][..]), "{nothing}");
        }
        assert_eq!(topics("tool_result"), Some(&[TOOL_EXECUTED, TOOL_FAILED][..]));
        for unknown in ["", "workflow", "everything", "TASK STARTED"] {
            assert_eq!(topics(unknown), None, "{unknown:?}");
        }
    }
}
