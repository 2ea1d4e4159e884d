//! The flags that programs pass, in every spelling they use.

/// What to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Send the message on standard input.
    #[default]
    Send,
    /// `-bs`: SMTP on standard input and output.
    Smtp,
    /// `-bp`, `mailq`.
    List,
    /// `-q`.
    Flush,
    /// `-bi`, `newaliases`.
    NewAliases,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// `-t`: recipients from the header, too.
    pub from_header: bool,
    /// `-i`, `-oi`: a line with a single dot is text.
    pub dots_are_text: bool,
    /// `-f`, `-r`: envelope sender.
    pub sender: Option<String>,
    /// `-F`: full name.
    pub full_name: Option<String>,
    /// Recipients.
    pub recipients: Vec<String>,
}

/// Flags that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagFault {
    /// A flag nobody knows.
    #[error("unknown flag {0}")]
    Unknown(String),
    /// A flag without its value.
    #[error("{0} wants a value")]
    NoValue(String),
    /// Neither recipients nor `-t`.
    #[error("no recipients")]
    NoRecipients,
}

impl Options {
    /// Reads the command line; the first word is the name it was called by.
    pub fn parse(words: &[String]) -> Result<Self, FlagFault> {
        let mut options = Self::default();
        let (name, rest) = words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
        match name.rsplit('/').next() {
            Some("mailq") => options.mode = Mode::List,
            Some("newaliases") => options.mode = Mode::NewAliases,
            _ => {}
        }
        let mut words = rest.iter();
        let mut only_recipients = false;
        while let Some(word) = words.next() {
            if only_recipients || !word.starts_with('-') || word == "-" {
                options.recipients.push(word.clone());
                continue;
            }
            let mut value = |inline: &str| -> Result<String, FlagFault> {
                if inline.is_empty() {
                    words.next().cloned().ok_or_else(|| FlagFault::NoValue(word.clone()))
                } else {
                    Ok(inline.to_owned())
                }
            };
            match word.as_str() {
                "--" => only_recipients = true,
                "-t" => options.from_header = true,
                "-i" | "-oi" => options.dots_are_text = true,
                "-ti" | "-it" => (options.from_header, options.dots_are_text) = (true, true),
                "-bs" => options.mode = Mode::Smtp,
                "-bp" => options.mode = Mode::List,
                "-bi" => options.mode = Mode::NewAliases,
                "-bm" | "-v" | "-n" | "-m" | "-em" | "-ee" | "-ep" | "-eq" | "-ew" | "-U" | "-G" => {}
                _ => match (&word[..2.min(word.len())], word.get(2..).unwrap_or_default()) {
                    ("-f" | "-r", inline) => options.sender = Some(value(inline)?),
                    ("-F", inline) => options.full_name = Some(value(inline)?),
                    // Delivery status options, body type, envelope id, hop count: none of them changes what we do.
                    ("-N" | "-R" | "-B" | "-V" | "-h" | "-L" | "-X" | "-C" | "-p" | "-O", inline) => {
                        value(inline)?;
                    }
                    ("-o", _) => {}
                    ("-q", _) => options.mode = Mode::Flush,
                    _ => return Err(FlagFault::Unknown(word.clone())),
                },
            }
        }
        if options.mode == Mode::Send && options.recipients.is_empty() && !options.from_header {
            return Err(FlagFault::NoRecipients);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, FlagFault> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_usual_calls_are_understood() {
        let cron = parse("/usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem root").unwrap();
        assert_eq!(cron.full_name.as_deref(), Some("CronDaemon"));
        assert!(cron.dots_are_text && cron.recipients == ["root"]);
        let php = parse("sendmail -t -i -f www@example.org").unwrap();
        assert!(php.from_header && php.sender.as_deref() == Some("www@example.org"));
        let git = parse("sendmail -i -oXunknown -r me@example.org -- -odd@example.org").unwrap();
        assert_eq!(git.recipients, ["-odd@example.org"]);
        assert_eq!(parse("mailq").unwrap().mode, Mode::List);
        assert_eq!(parse("/usr/bin/newaliases").unwrap().mode, Mode::NewAliases);
        assert_eq!(parse("sendmail -q15m").unwrap().mode, Mode::Flush);
        assert_eq!(parse("sendmail -bs").unwrap().mode, Mode::Smtp);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse("sendmail"), Err(FlagFault::NoRecipients));
        assert_eq!(parse("sendmail -f"), Err(FlagFault::NoValue("-f".into())));
        assert_eq!(parse("sendmail -Z x"), Err(FlagFault::Unknown("-Z".into())));
    }
}
