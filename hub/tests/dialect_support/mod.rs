//! Parts of the dialect tests. Knows no socket.

mod arbitrary_text;
mod counting;
mod fixture;
mod golden;
mod transcript;
