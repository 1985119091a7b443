//! What the five dialects promise their clients: every message's shape, every story's order, and no panic whatever a
//! client sends. `UPDATE_EXPECT=1` rewrites the expected files; their differences are reviewed like code.

#![expect(clippy::unwrap_used, reason = "a test stops at what its fixtures did not expect")]

mod dialect_support;
