use crate::dialect::Rendered;
use crate::event::Event;

pub fn render(_event: &Event) -> Vec<Rendered> {
    Vec::new()
}
