//! What one connection may ask of us.

use std::time::Duration;

/// Octets of one frame's payload. A small message body rides inline; anything larger travels as a descriptor.
pub const FRAME_OCTETS: usize = 1 << 20;
/// Descriptors with one frame.
pub const FRAME_DESCRIPTORS: usize = 4;
/// Calls of one connection being worked on at once; further frames wait in the socket.
pub const CALLS_IN_FLIGHT: usize = 1024;
/// Streams of one connection, which may last as long as it: one for each session that watches something.
pub const STREAMS: usize = 100_000;
/// Stream items on their way before the receiver must take some.
pub const WINDOW: u32 = 16;
/// How long a service that stops works on the requests it has read.
pub const STOP_WAIT: Duration = Duration::from_secs(2);
/// Goodbyes in a row until a request is given up.
pub const GOODBYES: u32 = 10;
/// How long a request with unknown outcome is repeated, where that is safe.
pub const REPEAT_FOR: Duration = Duration::from_secs(30);
/// Pause before the first repetition; doubles each time, up to a second.
pub const REPEAT_PAUSE: Duration = Duration::from_millis(50);
/// Frames waiting to be written on one connection.
pub const WRITE_QUEUE: usize = 1024;
/// Until the other side has greeted: long enough for a service to be started by its socket.
pub const HELLO_WAIT: Duration = Duration::from_secs(20);
/// Attempts to reach a service that is being restarted.
pub const CONNECT_ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; doubles each time.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(20);
