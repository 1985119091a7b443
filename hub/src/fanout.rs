//! Events on their way to watchers: each is encoded at most once per dialect, by the first watcher that needs it.

use std::sync::{Arc, OnceLock};

use crate::dialect::{Dialect, Rendered};
use crate::event::Event;

/// An event and its words in each dialect, made when first asked for and shared from then on.
#[derive(Debug)]
pub struct Published {
    pub event: Event,
    rendered: [OnceLock<Vec<Rendered>>; Dialect::ALL.len()],
}

impl Published {
    pub fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, rendered: Default::default() })
    }

    pub fn rendered(&self, dialect: Dialect) -> &[Rendered] {
        self.rendered[dialect.index()].get_or_init(|| dialect.render(&self.event))
    }
}
