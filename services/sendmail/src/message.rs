//! What a program wrote, made into a message: CRLF lines, recipients from the header, no Bcc.
//!
//! Law: RFC 5322 §2.1 and §3.6.3.

use crate::{Fault, Options};

/// A message ready to be handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// At least one.
    pub recipients: Vec<String>,
    /// CRLF, dots not stuffed.
    pub bytes: Vec<u8>,
}

/// Reads what came on standard input.
pub fn prepare(options: &Options, input: &[u8], from: &str) -> Result<Message, Fault> {
    let mut header: Vec<Vec<u8>> = Vec::new();
    let mut lines = lines(input, options.dots_are_text);
    let mut body_first = None;
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        let continues = line[0] == b' ' || line[0] == b'\t';
        if continues && let Some(field) = header.last_mut() {
            field.extend_from_slice(b"\r\n");
            field.extend_from_slice(line);
        } else if is_field(line) {
            header.push(line.to_vec());
        } else {
            // No header field: the body begins here, without an empty line before it.
            body_first = Some(line);
            break;
        }
    }
    let mut recipients = options.recipients.clone();
    if options.from_header {
        for field in header.iter().filter(|f| ["to", "cc", "bcc"].iter().any(|name| named(f, name))) {
            let text = String::from_utf8_lossy(field);
            recipients.extend(addresses(text.split_once(':').map_or("", |(_, value)| value)));
        }
        header.retain(|field| !named(field, "bcc"));
    }
    recipients.dedup();
    if recipients.is_empty() {
        return Err(Fault::Data("no recipients in the header"));
    }
    let mut bytes = Vec::with_capacity(input.len() + 256);
    if !header.iter().any(|field| named(field, "from")) {
        let name = options.full_name.as_deref().map(phrase).unwrap_or_default();
        let line = if name.is_empty() { format!("From: {from}") } else { format!("From: {name} <{from}>") };
        header.insert(0, line.into_bytes());
    }
    for field in &header {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    for line in body_first.into_iter().chain(lines) {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(Message { recipients, bytes })
}

/// Lines without their ends, whichever kind they have; a lone dot ends the message unless dots are text.
fn lines(input: &[u8], dots_are_text: bool) -> impl Iterator<Item = &[u8]> {
    let input = input.strip_suffix(b"\n").unwrap_or(input);
    let lines = (!input.is_empty()).then(|| input.split(|b| *b == b'\n')).into_iter().flatten();
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(move |line| dots_are_text || *line != b".")
}

/// RFC 5322 §2.2: a name of printable characters and a colon.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|b| *b == b':').next().unwrap_or_default();
    name.len() < line.len() && !name.is_empty() && name.iter().all(|b| (b'!'..=b'~').contains(b))
}

fn named(field: &[u8], name: &str) -> bool {
    field.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        && field.get(name.len()) == Some(&b':')
}

/// The addresses of a list: display names, comments and group names taken off.
fn addresses(text: &str) -> Vec<String> {
    let (mut list, mut word, mut angle) = (Vec::new(), String::new(), None::<String>);
    let (mut quoted, mut depth, mut escaped) = (false, 0u32, false);
    let mut take = |word: &mut String, angle: &mut Option<String>| {
        let one = angle.take().unwrap_or_else(|| std::mem::take(word).trim().to_owned());
        word.clear();
        if !one.is_empty() {
            list.push(one);
        }
    };
    for c in text.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                if depth == 0 {
                    angle.as_mut().unwrap_or(&mut word).push(c);
                }
                continue;
            }
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            ',' | ';' if !quoted && depth == 0 => {
                take(&mut word, &mut angle);
                continue;
            }
            ':' if !quoted && depth == 0 => {
                word.clear();
                continue;
            }
            '<' if !quoted && depth == 0 => {
                angle = Some(String::new());
                continue;
            }
            '>' if !quoted && depth == 0 => continue,
            '\r' | '\n' => continue,
            _ => {}
        }
        if depth == 0 {
            match angle.as_mut() {
                // What follows the closing bracket is nothing we need.
                Some(address) => address.push(c),
                None => word.push(c),
            }
        }
    }
    take(&mut word, &mut angle);
    list.into_iter().map(|address| address.split_whitespace().collect::<String>()).collect()
}

/// A display name, quoted.
fn phrase(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
    if clean.is_empty() { clean } else { format!("\"{clean}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(options: &Options, input: &str) -> (Vec<String>, String) {
        let message = prepare(options, input.as_bytes(), "root@mail.example.org").unwrap();
        (message.recipients, String::from_utf8(message.bytes).unwrap())
    }

    #[test]
    fn recipients_come_from_the_header_and_bcc_goes() {
        let options = Options { from_header: true, ..Options::default() };
        let input = "To: \"Doe, Jane\" <jane@example.org>, joe@example.org (Joe)\nBcc: hidden@example.org\nSubject: x\n\nhi\n.\nafter\n";
        let (recipients, message) = text(&options, input);
        assert_eq!(recipients, ["jane@example.org", "joe@example.org", "hidden@example.org"]);
        assert!(message.starts_with("From: root@mail.example.org\r\nTo: \"Doe, Jane\""));
        assert!(!message.contains("Bcc") && message.ends_with("\r\n\r\nhi\r\n"), "{message:?}");
    }

    #[test]
    fn text_without_header_gets_one() {
        let options = Options {
            recipients: vec!["root".into()],
            dots_are_text: true,
            full_name: Some("Cron".into()),
            ..Options::default()
        };
        let (_, message) = text(&options, "just a line\r\n.\nend");
        assert_eq!(message, "From: \"Cron\" <root@mail.example.org>\r\n\r\njust a line\r\n.\r\nend\r\n");
    }

    #[test]
    fn groups_and_folded_lists_are_read() {
        assert_eq!(addresses(" friends: a@x.example,\r\n b@x.example;, \"q\\\"r\"@x.example").len(), 3);
        assert_eq!(addresses("undisclosed-recipients:;"), Vec::<String>::new());
        assert!(
            prepare(&Options { from_header: true, ..Options::default() }, b"Subject: x\n\n", "a@b").is_err()
        );
    }
}
