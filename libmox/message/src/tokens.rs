//! The words of a message, for the junk filter.
//!
//! Row JK-05: words of plain and marked-up text, and of some header fields with the field's name before them
//! (`subject:offer`). A word is a run of letters and digits in lower case, at least three characters (numbers too: those
//! of telephones and streets are what junk repeats). Scripts without spaces give pairs of characters, but not of
//! hiragana, which bind words as "the" and "of" do. Words stand in the order of the text, so that whoever wants pairs of
//! words can make them. Beside what the row names: hosts of links (`host:example.org`, see `hosts.rs`), and of each text
//! part how it says that it is written (`type:html charset:utf-8 encoding:base64`).
//!
//! Bounded by `limits::WORDS`, `limits::WORD_OCTETS` and `limits::WORD_INPUT`; what is beyond is not looked at.
//! Fails with: nothing.

use crate::decoded::Decoded;
use crate::hosts::Hosts;
use crate::limits;
use crate::preview::{Html, Sink};

/// Words with a space between them; a line ends where a field or part does.
#[derive(Default)]
pub(crate) struct Tokens {
    text: String,
    count: usize,
    most: usize,
    word: String,
    chars: usize,
    /// The last character of a script without spaces.
    before: Option<char>,
    field: &'static str,
    /// The next word begins a line.
    fresh: bool,
    hosts: Hosts,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { most: limits::WORDS, fresh: true, ..Self::default() }
    }

    fn text(&mut self, c: char) {
        self.hosts.feed(c);
        self.one(c);
    }

    fn one(&mut self, c: char) {
        if c.is_ascii_alphanumeric() {
            self.letter(c.to_ascii_lowercase());
        } else if c.is_ascii() {
            // "don't" is one word.
            if c != '\'' {
                self.end_word();
            }
        } else if without_spaces(c) {
            self.end_letters();
            if let Some(before) = self.before.replace(c)
                && !(is_hiragana(before) || is_hiragana(c))
            {
                let mut pair = [0; 8];
                let first = before.encode_utf8(&mut pair).len();
                let both = first + c.encode_utf8(&mut pair[first..]).len();
                let pair = std::str::from_utf8(&pair[..both]).unwrap_or_default().to_owned();
                self.put(&pair);
            }
        } else if c.is_alphanumeric() {
            c.to_lowercase().for_each(|c| self.letter(c));
        } else if !matches!(c, '\u{2019}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{34f}' | '\u{ad}') {
            self.end_word();
        }
    }

    fn letter(&mut self, c: char) {
        self.before = None;
        self.chars += 1;
        if self.chars <= limits::WORD_CHARS {
            self.word.push(c);
        }
    }

    fn end_letters(&mut self) {
        if (limits::WORD_CHARS_LEAST..=limits::WORD_CHARS).contains(&self.chars) {
            let word = std::mem::take(&mut self.word);
            self.put(&word);
            self.word = word;
        }
        self.word.clear();
        self.chars = 0;
    }

    fn end_word(&mut self) {
        if self.chars > 0 {
            self.end_letters();
        }
        self.before = None;
    }

    fn put(&mut self, word: &str) {
        let octets = self.text.len() + self.field.len() + word.len() + 2;
        if self.count >= self.most || octets > limits::WORD_OCTETS {
            return;
        }
        self.count += 1;
        if !self.text.is_empty() {
            self.text.push(if self.fresh { '\n' } else { ' ' });
        }
        self.fresh = false;
        if !self.field.is_empty() {
            self.text.push_str(self.field);
            self.text.push(':');
        }
        self.text.push_str(word);
    }

    /// A field or part ends.
    fn end(&mut self) {
        self.end_word();
        self.fresh = true;
    }

    /// A text part ends.
    fn end_part(&mut self) {
        self.end();
        self.field = "host";
        for host in self.hosts.take() {
            self.put(&host);
        }
        self.field = "";
        self.fresh = true;
    }

    /// A text part begins.
    fn begin_part(&mut self, html: bool, charset: Option<&[u8]>, encoding: Option<&[u8]>) {
        let kind: &[u8] = if html { b"html" } else { b"plain" };
        for (name, said) in [("type", Some(kind)), ("charset", charset), ("encoding", encoding)] {
            let said = said.unwrap_or(b"none").iter().take(limits::WORD_CHARS);
            let word: String = said
                .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                .map(|b| char::from(b.to_ascii_lowercase()))
                .collect();
            self.field = name;
            self.put(&word);
        }
        self.field = "";
        self.fresh = true;
    }

    /// The words of a header field.
    pub(crate) fn field(&mut self, name: &'static str, value: &str) {
        // What fills the body leaves room for these.
        self.most = limits::WORDS + limits::FIELD_WORDS;
        self.field = name;
        value.chars().for_each(|c| self.one(c));
        self.end();
        self.field = "";
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

impl Sink for Tokens {
    const SHOWS_QUOTES: bool = true;
    fn char(&mut self, c: char) {
        self.text(c);
    }
    fn gap(&mut self) {
        self.end_word();
    }
    fn quote(&mut self) {
        self.end_word();
    }
    fn attribute(&mut self, c: char) {
        self.hosts.feed(c);
    }
    fn full(&self) -> bool {
        self.count >= self.most || self.text.len() + 4 * limits::WORD_CHARS > limits::WORD_OCTETS
    }
}

/// Chinese, Japanese and Korean.
fn without_spaces(c: char) -> bool {
    matches!(u32::from(c), 0x3041..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0x20000..=0x3ffff)
}

/// Of the scripts of Japanese the one that has the endings and particles.
fn is_hiragana(c: char) -> bool {
    matches!(u32::from(c), 0x3041..=0x309f)
}

/// Reads one text part into [`Tokens`].
pub(crate) struct TextReader {
    decoded: Decoded,
    html: Option<Box<Html<Tokens>>>,
    tokens: Tokens,
}

impl TextReader {
    /// `looked_at`: octets of text of the parts before.
    pub(crate) fn new(
        html: bool,
        charset: Option<&[u8]>,
        encoding: Option<&[u8]>,
        mut tokens: Tokens,
        looked_at: usize,
    ) -> Self {
        tokens.begin_part(html, charset, encoding);
        let (html, tokens) =
            if html { (Some(Box::new(Html::new(tokens))), Tokens::default()) } else { (None, tokens) };
        Self { decoded: Decoded::new(charset, encoding, looked_at, limits::WORD_INPUT), html, tokens }
    }

    /// A piece of the body; false once no more is needed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> bool {
        let text = self.decoded.feed(piece);
        let full = take(&mut self.html, &mut self.tokens, text);
        !full && !self.decoded.full()
    }

    pub(crate) fn finish(mut self) -> (Tokens, usize) {
        let text = self.decoded.finish();
        take(&mut self.html, &mut self.tokens, text);
        let mut tokens = match self.html {
            Some(html) => html.out,
            None => self.tokens,
        };
        tokens.end_part();
        (tokens, self.decoded.looked_at())
    }
}

/// Whether no more is needed.
fn take(html: &mut Option<Box<Html<Tokens>>>, tokens: &mut Tokens, text: &str) -> bool {
    match html {
        Some(html) => html.feed(text),
        None => {
            text.chars().for_each(|c| tokens.text(c));
            tokens.full()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gives(html: bool, text: &str, want: &str) {
        for size in [1, 3, text.len().max(1)] {
            let mut reader = TextReader::new(html, None, None, Tokens::new(), 0);
            for piece in text.as_bytes().chunks(size) {
                if !reader.feed(piece) {
                    break;
                }
            }
            let kind = if html { "html" } else { "plain" };
            let head = format!("type:{kind} charset:none encoding:none");
            let all = if want.is_empty() { head } else { format!("{head}\n{want}") };
            assert_eq!(reader.finish().0.finish(), all, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn words_of_text() {
        gives(
            false,
            "Buy CHEAP pills now, it don't wait! 20000 a1b2 123",
            "buy cheap pills now dont wait 20000 a1b2 123",
        );
        gives(false, "Grüße Straße naïve", "grüße straße naïve");
        gives(false, &format!("{} okay", "x".repeat(50)), "okay");
        gives(false, "中文字 test", "中文 文字 test");
        gives(false, "以上です。カード", "以上 カー ード");
        gives(false, "vi\u{200b}ag\u{ad}ra", "viagra");
        gives(false, "", "");
        gives(false, "see http://a.example!", "see http example\nhost:a.example");
    }

    #[test]
    fn words_of_markup() {
        gives(
            true,
            "<style>body</style><p>Some <b>bo</b>ld text<blockquote>quoted</blockquote>",
            "some bold text quoted",
        );
        gives(
            true,
            "<a href='http://www.shop.example/x'>shop</a> <img src=https://192.0.2.1> <script>http://no.example</script>",
            "shop\nhost:shop.example host:www.shop.example host:ip host:192.0.2.1",
        );
        gives(true, "mon&eacute;y caf&#233;<br>next", "monéy café next");
    }

    #[test]
    fn fields_and_parts_are_told_apart() {
        let mut tokens = Tokens::new();
        "hello world".chars().for_each(|c| tokens.one(c));
        tokens.end();
        tokens.field("subject", "Great offer");
        tokens.field("from", "Jane Doe <jane@example.org>");
        assert_eq!(
            tokens.finish(),
            "hello world\nsubject:great subject:offer\nfrom:jane from:doe from:jane from:example from:org"
        );
    }

    #[test]
    fn too_many_words_are_cut_and_fields_have_room() {
        let mut reader = TextReader::new(false, None, None, Tokens::new(), 0);
        let text = (0..limits::WORDS * 2).map(|n| format!("w{n}x ")).collect::<String>();
        reader.feed(text.as_bytes());
        let (mut tokens, _) = reader.finish();
        tokens.field("subject", "room here");
        let text = tokens.finish();
        assert!(text.split_whitespace().count() <= limits::WORDS + 2 && text.len() <= limits::WORD_OCTETS);
        assert!(text.ends_with("subject:room subject:here"), "{}", &text[text.len() - 40..]);
    }
}
