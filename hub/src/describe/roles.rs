//! The table of routes as a page for people: who may use what. Knows no type.

use crate::dialect::Dialect;
use crate::routes::{Entry, Kind};

const HEAD: &str = "\
# Who may use what

Made from the table of routes in `hub/src/router.rs`; `UPDATE_EXPECT=1 cargo test -p rigwire --test descriptions` writes it anew.
A role may do what the ones before it may: **viewer** looks, **operator** also runs, reserves and changes, **admin** also sees who is
connected. *anyone* needs no token. A hub that was started without tokens takes everyone for an admin.

## Requests

| | | role | |
|---|---|---|---|
";

const SOCKETS: &str = "
## Sockets

Whoever may look may open any socket. A client without a good token is let in as far as to hear so in the protocol's own form, and is
closed with 1008. What a message would have done is asked when it comes: a viewer may subscribe, acknowledge, ping and look at
previews; whatever starts, stops or changes a run or a device needs an operator, and is refused in the protocol's own form, with the
code FORBIDDEN where that has codes, and the socket stays open. A token that is revoked or runs out closes its sockets with 1008.

| socket | protocol | role |
|---|---|---|
";

pub fn page(entries: &[Entry]) -> String {
    let mut page = HEAD.to_owned();
    let owners = std::iter::once(None).chain(Dialect::ALL.map(Some));
    for owner in owners {
        for entry in entries.iter().filter(|entry| entry.room == owner) {
            if let Kind::Request(operation) = &entry.kind {
                let (verb, path) = (entry.verb.as_str(), entry.path);
                page.push_str(&format!("| {verb} | `{path}` | {} | {} |\n", role(entry), operation.summary));
            }
        }
    }
    page.push_str(SOCKETS);
    for entry in entries {
        if let Kind::Socket(dialect) = &entry.kind {
            page.push_str(&format!("| `{}` | {} | {} |\n", entry.path, dialect.as_str(), role(entry)));
        }
    }
    page
}

fn role(entry: &Entry) -> &'static str {
    entry.role.map_or("*anyone*", |role| role.as_str())
}
