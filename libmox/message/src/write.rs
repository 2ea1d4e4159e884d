//! Header fields as we write them: folded, and safe against what goes into them.
//!
//! Law: RFC 5322 §2.1.1 (78 wanted, 998 allowed) and §2.2.3 (folding); RFC 2047 for text that is not ASCII.
//! Fails with: nothing. Line ends and control characters in values become spaces.

/// Columns wanted at most. RFC 5322 §2.1.1.
const COLUMNS: usize = 76;

/// One field that is being written.
#[derive(Debug)]
pub struct Field {
    out: String,
    column: usize,
    /// Nothing stands behind the name yet: the first word stays on its line.
    empty: bool,
}

impl Field {
    /// `Name:`
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { out: format!("{name}:"), column: name.len() + 1, empty: true }
    }

    /// Adds a word behind a space, on a new line if this one is full. The word itself is never broken.
    pub fn word(&mut self, word: &str) -> &mut Self {
        let width = word.chars().count();
        let fold = self.column + 1 + width > COLUMNS && !self.empty;
        self.empty = false;
        self.out.push_str(if fold { "\r\n\t" } else { " " });
        self.column = if fold { 8 } else { self.column + 1 };
        self.push(word);
        self
    }

    /// Adds text right behind the last word.
    pub fn glue(&mut self, text: &str) -> &mut Self {
        self.push(text);
        self
    }

    /// Adds words of text, folding between them.
    pub fn words(&mut self, text: &str) -> &mut Self {
        for word in text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            self.word(word);
        }
        self
    }

    fn push(&mut self, text: &str) {
        self.out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.column += text.chars().count();
    }

    /// The field with its line end.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.out.push_str("\r\n");
        self.out
    }
}

/// Text for an unstructured field, or a phrase, of a message that must be ASCII: RFC 2047 where needed.
#[must_use]
pub fn encode_words(text: &str) -> String {
    if text.bytes().all(|b| (32..127).contains(&b)) && !text.contains("=?") {
        return text.to_string();
    }
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars() {
        let mut coded = String::new();
        match c {
            ' ' => coded.push('_'),
            c if c.is_ascii_alphanumeric() => coded.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    coded.push_str(&format!("={byte:02X}"));
                }
            }
        }
        // RFC 2047 §2: at most 75 octets a word, and characters are not split.
        if word.len() + coded.len() > 60 {
            flush(&mut word, &mut out);
        }
        word.push_str(&coded);
    }
    flush(&mut word, &mut out);
    out
}

fn flush(word: &mut String, out: &mut String) {
    if !word.is_empty() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("=?utf-8?q?");
        out.push_str(word);
        out.push_str("?=");
        word.clear();
    }
}

/// A comment's text: parentheses and backslashes escaped. RFC 5322 §3.2.2.
#[must_use]
pub fn comment(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('(');
    for c in text.chars() {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::decode_words;

    #[test]
    fn fields_fold_between_words() {
        let mut field = Field::new("Subject");
        field.words(&"word ".repeat(40));
        let text = field.finish();
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
        assert_eq!(text.split_whitespace().count(), 41);
        let mut field = Field::new("X");
        field.word(&"y".repeat(200)).word("a\r\nInjected: b");
        assert_eq!(field.finish(), format!("X: {}\r\n\ta  Injected: b\r\n", "y".repeat(200)));
    }

    #[test]
    fn encoded_words_read_back() {
        for text in [
            "plain",
            "caf\u{e9} and more \u{20ac}\u{1f600} words that go on and on and on and on",
            "=?x",
            "a\r\nb: c",
        ] {
            let coded = encode_words(text);
            assert!(coded.is_ascii() && !coded.contains('\r') && coded.split(' ').all(|w| w.len() <= 75));
            assert_eq!(decode_words(coded.as_bytes()), text);
        }
        assert_eq!(comment("a(b)\r\n"), "(a\\(b\\)  )");
    }
}
