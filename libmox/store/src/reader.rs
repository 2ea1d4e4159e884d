//! What the configuration says of a reader: role `imap`.

use crate::SessionId;
use serde::{Deserialize, Serialize};

/// Asks for it. Reply: [`ReaderSettings`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReaderConfig {
    /// Whose.
    pub session: SessionId,
}

/// Reply to [`ReaderConfig`].
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderSettings {
    /// IMAP capabilities not to announce (row IM-47).
    pub disabled_capabilities: Vec<String>,
}
