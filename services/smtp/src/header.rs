//! Header fields as rules of accounts look at them: names and values in lower case, unfolded, words decoded.
//!
//! Law: RFC 5322 §2.2, RFC 2047. Row ST-45. Bounded by [`HEADER_OCTETS`]: what is behind it is not looked at.

use libmox_message::words::decode_words;
use libmox_message::write::{Field, encode_words};
use libmox_store::{Analysis, HEADER_OCTETS, ReportKind};

/// The fields at the start of a message.
pub(crate) fn fields(message: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.first(), fields.last_mut()) {
            (None, _) => break,
            (Some(b' ' | b'\t'), Some((_, value))) => value.extend_from_slice(line),
            _ => {
                let Some(colon) = line.iter().position(|&b| b == b':') else { break };
                let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_lowercase();
                fields.push((name, line[colon + 1..].to_vec()));
            }
        }
    }
    let mut left = HEADER_OCTETS;
    fields
        .into_iter()
        .map(|(name, value)| (name, decode_words(&value).trim().to_lowercase()))
        .take_while(|(name, value)| {
            let octets = name.len() + value.len();
            let fits = octets <= left;
            left = left.saturating_sub(octets);
            fits
        })
        .collect()
}

/// A token in the subject that lets a message pass (row JK-11).
pub(crate) fn pass(message: &[u8]) -> Option<String> {
    let mut rest = message;
    while let Some(end) = line_end(rest) {
        let (line, after) = rest.split_at(end + 1);
        if line.trim_ascii().is_empty() {
            return None;
        }
        if line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"subject:")) {
            let mut end = line.len();
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += line_end(&rest[end..]).map_or(rest.len() - end, |at| at + 1);
            }
            // The token may have been folded, or be part of an encoded word.
            let subject = decode_words(&rest[8..end]);
            let packed: String = subject.chars().filter(|c| !c.is_whitespace()).collect();
            let start = packed.find("(pass:")?;
            let token = &packed[start..start + packed[start..].find(')')? + 1];
            return (token.len() <= PASS_OCTETS).then(|| token.to_owned());
        }
        rest = after;
    }
    None
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Octets of a token: 16 bytes in base64, and what is around them.
const PASS_OCTETS: usize = 40;

/// Row SR-25: why the message is here. In ASCII, whatever words were found in it.
pub(crate) fn reason(analysis: &Analysis) -> String {
    if analysis.reason.is_empty() {
        return String::new();
    }
    let mut field = Field::new("X-Mox-Reason");
    field.word(&analysis.reason).glue(";").words(&encode_words(&analysis.text));
    for (topic, said) in &analysis.chain {
        field.glue(";").words(&encode_words(&format!("{topic}: {said}")));
    }
    field.finish()
}

/// Row MA-10: what the recipient's rules did about a DMARC policy, said where its result is.
pub(crate) fn with_override(headers: &str, at: Option<u32>, word: Option<&str>) -> String {
    let at = at.and_then(|at| usize::try_from(at).ok());
    match (word, at.and_then(|at| headers.split_at_checked(at))) {
        (Some(word), Some((before, after))) => format!("{before}, override {word}{after}"),
        _ => headers.to_owned(),
    }
}

/// Row MA-18: why a message to an address for reports is not taken as one.
pub(crate) fn report_error(analysis: &Analysis, kind: Option<ReportKind>) -> String {
    let Some(error) = &analysis.report_error else { return String::new() };
    let name = match kind {
        Some(ReportKind::Tls) => "X-Mox-TLSReport-Error",
        _ => "X-Mox-DMARCReport-Error",
    };
    let mut field = Field::new(name);
    field.words(&encode_words(error));
    field.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_the_subject_only() {
        for (message, want) in [
            ("Subject: hi (pass:AbC_-1)\r\n\r\n", Some("(pass:AbC_-1)")),
            ("A: b\r\nsubject: hi\r\n (pass:AbC\r\n\t_-1) x\r\nC: d\r\n\r\n", Some("(pass:AbC_-1)")),
            ("Subject: =?utf-8?q?gr=C3=BC=C3=9Fe_(pass:AbC)?=\r\n\r\n", Some("(pass:AbC)")),
            ("Subject: hi\r\nX: (pass:AbC)\r\n\r\n", None),
            ("X: y\r\n\r\nSubject: (pass:AbC)\r\n", None),
            ("Subject: (pass:", None),
            ("", None),
        ] {
            assert_eq!(pass(message.as_bytes()).as_deref(), want, "{message:?}");
        }
        assert_eq!(pass(format!("Subject: (pass:{})\r\n\r\n", "a".repeat(100)).as_bytes()), None);
    }

    /// Rows MA-10, MA-18.
    #[test]
    fn overrides_and_bad_reports_are_told() {
        let headers = "A: x; dmarc=fail (p=reject) header.from=a\r\n";
        let at = headers.find(')').and_then(|at| u32::try_from(at).ok());
        let told = with_override(headers, at, Some("mailing_list"));
        assert_eq!(told, "A: x; dmarc=fail (p=reject, override mailing_list) header.from=a\r\n");
        for (at, word) in [(None, Some("x")), (at, None), (Some(10_000), Some("x"))] {
            assert_eq!(with_override(headers, at, word), headers);
        }
        let bad = |error: Option<&str>| Analysis {
            decision: libmox_store::Decision::Accept,
            reason: String::new(),
            destined: None,
            text: String::new(),
            ask_lists: false,
            first: false,
            pass: None,
            chain: vec![],
            dmarc_override: None,
            report_error: error.map(Into::into),
        };
        assert_eq!(report_error(&bad(None), None), "");
        let told = report_error(&bad(Some("no DMARC pass\r\nX: y")), None);
        assert!(told.starts_with("X-Mox-DMARCReport-Error: ") && told.ends_with("\r\n"), "{told}");
        assert!(!told.contains("\r\nX: y"), "{told}");
        assert!(report_error(&bad(Some("x")), Some(ReportKind::Tls)).starts_with("X-Mox-TLSReport-Error: x"));
    }

    /// Row SR-25.
    #[test]
    fn the_reason_is_one_field_in_ascii() {
        let analysis = Analysis {
            decision: libmox_store::Decision::Accept,
            reason: "junk-content".into(),
            destined: None,
            text: "probability 0.9".into(),
            ask_lists: false,
            first: false,
            pass: None,
            chain: vec![("words for junk".into(), "grüße\r\n 0.99, ".repeat(40))],
            dmarc_override: None,
            report_error: None,
        };
        let field = reason(&analysis);
        let unfolded = field.replace("\r\n\t", " ");
        assert!(unfolded.starts_with("X-Mox-Reason: junk-content; probability 0.9; =?utf-8?q?"), "{field}");
        assert!(field.is_ascii() && field.ends_with("\r\n"));
        for line in field.trim_end().split("\r\n").skip(1) {
            assert!(line.starts_with('\t') && line.len() < 200, "{line}");
        }
        assert_eq!(reason(&Analysis { reason: String::new(), ..analysis }), "");
    }

    fn of(message: &[u8]) -> Vec<(String, String)> {
        fields(message)
    }

    #[test]
    fn fields_are_lower_case_unfolded_and_decoded() {
        let message = b"List-Id: Some\r\n List <L.Example>\r\nSUBJECT: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nNot: this\r\n";
        let want = [("list-id", "some list <l.example>"), ("subject", "grüße")];
        let want: Vec<_> = want.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(of(message), want);
    }

    #[test]
    fn what_is_no_header_has_no_fields() {
        assert!(of(b"").is_empty());
        assert!(of(b"\r\nBody: here\r\n").is_empty());
        assert!(of(b"just a line\r\nA: b\r\n").is_empty());
    }

    #[test]
    fn a_huge_header_is_cut() {
        let message = [b"A: ".to_vec(), vec![b'x'; HEADER_OCTETS], b"\r\nB: y\r\n\r\n".to_vec()].concat();
        assert!(of(&message).is_empty());
        let message = b"Field: value\r\n".repeat(HEADER_OCTETS / 5);
        let octets: usize = of(&message).iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(octets <= HEADER_OCTETS && octets > HEADER_OCTETS - 100);
    }
}
