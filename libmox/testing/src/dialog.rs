//! Conversations as text, played against a server.
//!
//! | line | means |
//! |---|---|
//! | `C: text` | the client sends this line; `\n`, `\r`, `\0`, `\\` as in Rust, `\xHH` a byte, `\` at the end: no line end |
//! | `S: text` | the server says this line; `{*}` stands for anything |
//! | `@ connect` | another connection |
//! | `@ closed` | the server has closed |
//! | `# ...` | a remark |

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// All conversations of a folder, by name.
pub fn read_folder(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        all.push((path.display().to_string(), std::fs::read_to_string(&path)?));
    }
    all.sort();
    Ok(all)
}

/// Plays one; what went wrong, with its line.
pub async fn play(address: SocketAddr, text: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    // What the client said and nobody answered yet goes out at once: that is pipelining.
    let mut pending = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fault = |what: String| format!("line {number}: {line}: {what}");
        if let Some(said) = line.strip_prefix("C:") {
            unescape(said.strip_prefix(' ').unwrap_or(said), &mut pending).map_err(fault)?;
            continue;
        }
        if !pending.is_empty() {
            stream.write_all(&pending).await.map_err(|e| fault(e.to_string()))?;
            pending.clear();
        }
        if let Some(want) = line.strip_prefix("S:") {
            let got = next_line(&mut stream).await.map_err(&fault)?;
            let want = want.strip_prefix(' ').unwrap_or(want);
            if !matches(want, &got) {
                return Err(fault(format!("got {got:?}")));
            }
        } else if line == "@ connect" {
            stream = connect(address).await?;
        } else if line == "@ closed" {
            let got = next_line(&mut stream).await.map_err(&fault)?;
            if !got.is_empty() {
                return Err(fault(format!("got {got:?}")));
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            return Err(fault("what is this?".into()));
        }
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>, String> {
    TcpStream::connect(address).await.map(BufReader::new).map_err(|error| error.to_string())
}

/// Without its CRLF; empty at the end. A line that ends otherwise is a fault of the server.
async fn next_line(stream: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8(line).map_err(|error| error.to_string())?;
    if text.is_empty() {
        return Ok(text);
    }
    text.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| format!("no CRLF: {text:?}"))
}

fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("{*}");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || last.is_some_and(|part| part.is_empty() || line.ends_with(part))
}

fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('0') => out.push(0),
            Some('\\') => out.push(b'\\'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|_| "bad \\x".to_string())?);
            }
            None => return Ok(()),
            Some(other) => return Err(format!("bad escape {other}")),
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        for (pattern, line, want) in [
            ("250 ok", "250 ok", true),
            ("250 ok", "250 okay", false),
            ("250 {*}", "250 anything", true),
            ("{*}ok{*}", "250 ok (1)", true),
            ("250 {*}ok", "250 okay ok", true),
            ("250 {*}x", "250 okay", false),
        ] {
            assert_eq!(matches(pattern, line), want, "{pattern} {line}");
        }
    }
}
