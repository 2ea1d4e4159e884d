//! What two processes agree on.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A list of requests, their replies, stream items and faults. Postcard is positional: enums grow at the end only,
/// structs never change; a changed verb is a new verb.
pub trait Contract: Send + Sync + 'static {
    /// Named in the greeting, so that a client at the wrong socket finds out.
    const NAME: &'static str;
    /// Raised when an older peer can no longer be understood.
    const VERSION: u32;
    /// One of the requests.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// One of the replies.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What the streams of this contract carry.
    type Item: Serialize + DeserializeOwned + Send + 'static;
    /// Why a request failed.
    type Fault: Serialize + DeserializeOwned + Debug + Send + 'static;
    /// The fault for a verb that is not this role's.
    fn forbidden() -> Self::Fault;
    /// Reads an item, as `postcard` writes it; for contracts that have a faster way for some.
    fn read_item(bytes: &[u8]) -> Result<Self::Item, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// A request that knows its reply.
pub trait Verb<C: Contract>: Send + 'static {
    /// What comes back.
    type Reply;
    /// As one of the contract's requests.
    fn into_request(self) -> C::Request;
    /// Back from one of the contract's replies; none if the other side answered something else.
    fn from_reply(reply: C::Reply) -> Option<Self::Reply>;
}

/// Names one request for ever. The side that answers keeps the reply under it for a while, in the same atomic change as
/// the effect, so that the request can be repeated when its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OnceKey {
    /// When the request was made, seconds since 1970: old keys are forgotten, and refused.
    pub at: u64,
    /// Nobody else's.
    pub random: u64,
}

/// The first frame of either side.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Hello {
    /// [`Contract::NAME`].
    pub contract: String,
    /// [`Contract::VERSION`].
    pub version: u32,
    /// Who speaks, for the journal only.
    pub service: String,
}

/// Declares requests with their replies: the `Request` and `Reply` enums in this order, and [`Verb`] for each.
///
/// Every name is a struct (or other type) that stands in scope; a reply may be any type.
#[macro_export]
macro_rules! verbs {
    ($contract:ty; $( $(#[$doc:meta])* $verb:ident => $reply:ty ),+ $(,)?) => {
        /// One of the requests of this contract.
        #[derive(Debug, $crate::__serde::Serialize, $crate::__serde::Deserialize)]
        #[serde(crate = "::libmox_ipc::__serde")]
        #[allow(missing_docs, reason = "each variant is the struct of its name")]
        pub enum Request { $( $(#[$doc])* $verb($verb) ),+ }

        /// One of the replies of this contract.
        #[derive(Debug, $crate::__serde::Serialize, $crate::__serde::Deserialize)]
        #[serde(crate = "::libmox_ipc::__serde")]
        #[allow(missing_docs, reason = "each variant is the struct of its name")]
        pub enum Reply { $( $(#[$doc])* $verb($reply) ),+ }

        impl Request {
            /// The verb's name, for the journal.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$verb(_) => stringify!($verb) ),+ }
            }
        }

        $(
            impl $crate::Verb<$contract> for $verb {
                type Reply = $reply;
                fn into_request(self) -> Request { Request::$verb(self) }
                fn from_reply(reply: Reply) -> Option<$reply> {
                    #[allow(unreachable_patterns, reason = "a contract may have a single verb")]
                    match reply { Reply::$verb(reply) => Some(reply), _ => None }
                }
            }
        )+
    };
}
