//! Who is at the other end of the local socket: the uid the kernel vouches for, and its name.

use std::io;
use tokio::net::UnixStream;

/// Where names of users are. Users of other sources have no name here and cannot send this way.
const USERS: &str = "/etc/passwd";

/// The uid and name of the program that connected.
pub(crate) async fn peer(stream: &UnixStream) -> io::Result<(u32, String)> {
    let uid = stream.peer_cred()?.uid();
    let users = tokio::fs::read(USERS).await?;
    let user = name_of(uid, &users).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("uid {uid} has no name in {USERS}"))
    })?;
    Ok((uid, user))
}

fn name_of(uid: u32, users: &[u8]) -> Option<String> {
    users.split(|&b| b == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_have_names() {
        let users =
            b"root:x:0:0::/root:/bin/sh\nbroken\n\xff:x:5:\njane:x:1000:1000:Jane,,,:/home/jane:/bin/sh\n";
        assert_eq!(name_of(1000, users).as_deref(), Some("jane"));
        assert_eq!(name_of(0, users).as_deref(), Some("root"));
        assert_eq!(name_of(5, users), None);
        assert_eq!(name_of(1, users), None);
    }
}
