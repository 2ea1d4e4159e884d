//! Reads the reports that others send about mail in our name and about TLS to our servers.
//!
//! A report is one attachment, as it is or packed with gzip or zip; what it is its first octets say, whatever its name
//! says. It is unpacked within a limit, of a zip file only the first member, and cut to [`REPORT_OCTETS`] to be kept.
//!
//! Law: RFC 7489 §7.2.1.1 and appendix C; RFC 8460 §4 and §5.3. Row MA-18.
//! Fails with: words for a header field and the journal.

use crate::limits::{REPORT_PACKED, REPORT_PARTS, REPORT_UNPACKED};
use libmox_message::Part;
use libmox_message::transfer::Decoder;
use libmox_store::{REPORT_OCTETS, ReportKind, ReportRead, ReportRow};
use libmox_types::{Domain, Timestamp};
use mail_auth::report::tlsrpt::{PolicyType, TlsReport};
use mail_auth::report::{ActionDisposition, Alignment, Disposition, DmarcResult, Report};
use std::io::{Cursor, Read};

/// The report in a message.
pub fn read(message: &[u8]) -> Result<ReportRead, String> {
    let facts = libmox_message::parse(message);
    let mut parts = Vec::new();
    gather(&facts.structure.root, &mut parts);
    let mut fault = "no report found".to_owned();
    for part in parts {
        let place = usize::try_from(part.body_start).ok().zip(usize::try_from(part.body_end).ok());
        let Some(packed) = place.and_then(|(start, end)| message.get(start..end)) else { continue };
        if packed.len() > REPORT_PACKED {
            fault = "the attachment is too large".into();
            continue;
        }
        let mut decoder = Decoder::for_encoding(part.encoding.as_deref());
        let mut bytes = Vec::with_capacity(packed.len());
        decoder.feed(packed, &mut bytes);
        decoder.finish(&mut bytes);
        match unpack(bytes).and_then(|bytes| understand(&bytes)) {
            Ok(read) => return Ok(read),
            Err(what) => fault = what,
        }
    }
    Err(fault)
}

/// Parts that are no text for people.
fn gather<'a>(part: &'a Part, found: &mut Vec<&'a Part>) {
    if found.len() >= REPORT_PARTS {
        return;
    }
    if part.children.is_empty() {
        if !(part.media_type == "text" && matches!(part.subtype.as_str(), "plain" | "html")) {
            found.push(part);
        }
    } else {
        part.children.iter().for_each(|child| gather(child, found));
    }
}

pub(crate) fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    fn limited(from: impl Read) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        from.take(REPORT_UNPACKED + 1)
            .read_to_end(&mut out)
            .map_err(|error| format!("cannot be unpacked: {error}"))?;
        if out.len() as u64 > REPORT_UNPACKED { Err("too large when unpacked".into()) } else { Ok(out) }
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return limited(flate2::read::GzDecoder::new(&bytes[..]));
    }
    if bytes.starts_with(b"PK") {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| format!("cannot be unpacked: {error}"))?;
        let member = archive.by_index(0).map_err(|error| format!("cannot be unpacked: {error}"))?;
        return limited(member);
    }
    if bytes.len() as u64 > REPORT_UNPACKED { Err("too large".into()) } else { Ok(bytes) }
}

pub(crate) fn understand(bytes: &[u8]) -> Result<ReportRead, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match bytes.trim_ascii_start().first() {
        Some(b'<') => {
            dmarc(&Report::parse_xml(bytes).map_err(|error| short(&format!("cannot be read: {error}")))?)
        }
        Some(b'{') => {
            tls(&TlsReport::parse_json(bytes)
                .map_err(|error| short(&format!("cannot be read: {error:?}")))?)
        }
        _ => Err("no report found".into()),
    }
}

/// Text of others, for people.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn time(seconds: u64) -> Timestamp {
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn dmarc(report: &Report) -> Result<ReportRead, String> {
    let (published, about) = (&report.policy_published, &report.report_metadata);
    let domain =
        Domain::parse(published.domain.trim()).map_err(|_| "its domain cannot be read".to_owned())?;
    let pass = |result: &DmarcResult| if *result == DmarcResult::Pass { "pass" } else { "fail" };
    let rows = report.record.iter().map(|record| {
        let judged = &record.row.policy_evaluated;
        let disposition = match judged.disposition {
            ActionDisposition::Quarantine => "quarantine",
            ActionDisposition::Reject => "reject",
            _ => "none",
        };
        ReportRow {
            source: record.row.source_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            count: u64::from(record.row.count),
            good: judged.dkim == DmarcResult::Pass || judged.spf == DmarcResult::Pass,
            text: format!(
                "From {}, DKIM {}, SPF {}, disposition {disposition}",
                short(&record.identifiers.header_from),
                pass(&judged.dkim),
                pass(&judged.spf)
            ),
        }
    });
    let word = |policy: &Disposition| match policy {
        Disposition::Quarantine => "quarantine",
        Disposition::Reject => "reject",
        Disposition::None | Disposition::Unspecified => "none",
    };
    let letter = |alignment: &Alignment| if *alignment == Alignment::Strict { "s" } else { "r" };
    let (p, sp, adkim, aspf) =
        (word(&published.p), word(&published.sp), letter(&published.adkim), letter(&published.aspf));
    Ok(cut(ReportRead {
        kind: ReportKind::Dmarc,
        organisation: short(&about.org_name),
        contact: short(&about.email),
        id: short(&about.report_id),
        domains: vec![domain],
        begin: time(about.date_range.begin),
        end: time(about.date_range.end),
        policy: format!("p={p} sp={sp} adkim={adkim} aspf={aspf}"),
        total: 0,
        good: 0,
        rows: rows.collect(),
        left_out: 0,
    }))
}

fn tls(report: &TlsReport) -> Result<ReportRead, String> {
    let mut domains: Vec<Domain> = report
        .policies
        .iter()
        .filter_map(|one| Domain::parse(one.policy.policy_domain.trim()).ok())
        .collect();
    domains.sort_unstable();
    domains.dedup();
    domains.truncate(REPORT_PARTS);
    if domains.is_empty() {
        return Err("its domains cannot be read".into());
    }
    let mut rows = Vec::new();
    let mut kinds: Vec<&str> = Vec::new();
    for one in &report.policies {
        let kind = match one.policy.policy_type {
            PolicyType::Tlsa => "tlsa",
            PolicyType::Sts => "sts",
            PolicyType::NoPolicyFound => "no-policy-found",
            PolicyType::Other => "other",
        };
        kinds.push(kind);
        let source = short(&one.policy.policy_domain);
        let row = |count: u32, good, text| ReportRow {
            source: source.clone(),
            count: u64::from(count),
            good,
            text,
        };
        if one.summary.total_success > 0 {
            rows.push(row(one.summary.total_success, true, kind.to_owned()));
        }
        let mut explained = 0_u32;
        for failure in &one.failure_details {
            explained = explained.saturating_add(failure.failed_session_count);
            let host = failure.receiving_mx_hostname.as_deref().map(short).unwrap_or_default();
            let why = serde_json::to_value(failure.result_type).ok();
            let why = why.as_ref().and_then(serde_json::Value::as_str).unwrap_or("other").to_owned();
            rows.push(row(
                failure.failed_session_count,
                false,
                format!("{kind}, {why} {host}").trim_end().to_owned(),
            ));
        }
        let rest = one.summary.total_failure.saturating_sub(explained);
        if rest > 0 {
            rows.push(row(rest, false, format!("{kind}, failed")));
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(cut(ReportRead {
        kind: ReportKind::Tls,
        organisation: short(report.organization_name.as_deref().unwrap_or_default()),
        contact: short(report.contact_info.as_deref().unwrap_or_default()),
        id: short(&report.report_id),
        domains,
        begin: Timestamp(report.date_range.start_datetime.to_timestamp()),
        end: Timestamp(report.date_range.end_datetime.to_timestamp()),
        policy: kinds.join(" "),
        total: 0,
        good: 0,
        rows,
        left_out: 0,
    }))
}

/// Counts all rows and keeps those with most messages, as many as fit.
fn cut(mut read: ReportRead) -> ReportRead {
    read.total = read.rows.iter().fold(0, |sum, row| sum.saturating_add(row.count));
    read.good = read.rows.iter().filter(|row| row.good).fold(0, |sum, row| sum.saturating_add(row.count));
    // Of as many, those that went wrong first.
    read.rows.sort_by_key(|row| (std::cmp::Reverse(row.count), row.good));
    let names: usize = read.domains.iter().map(|domain| 2 * domain.ascii().len()).sum();
    let mut left = REPORT_OCTETS.saturating_sub(4 * 800 + names);
    let fits = read.rows.iter().take_while(|row| {
        let octets = row.source.len() + row.text.len() + 32;
        let fits = octets <= left;
        left = left.saturating_sub(octets);
        fits
    });
    let kept = fits.count();
    read.left_out = u32::try_from(read.rows.len() - kept).unwrap_or(u32::MAX);
    read.rows.truncate(kept);
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use std::io::Write as _;

    const XML: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Far\u{7} Inc</org_name>\
        <email>r@far.example</email><report_id>1!2</report_id><date_range><begin>1700000000</begin>\
        <end>1700086399</end></date_range></report_metadata><policy_published><domain>example.org</domain>\
        <adkim>s</adkim><p>reject</p><sp>none</sp></policy_published><record><row><source_ip>192.0.2.9</source_ip>\
        <count>2</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf>\
        </policy_evaluated></row><identifiers><header_from>example.org</header_from></identifiers>\
        <auth_results><spf><domain>x</domain><result>fail</result></spf></auth_results></record>\
        <record><row><source_ip>203.0.113.1</source_ip><count>5</count><policy_evaluated>\
        <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\
        <identifiers><header_from>example.org</header_from></identifiers><auth_results/></record></feedback>";
    const JSON: &str = r#"{"organization-name":"Far","date-range":{"start-datetime":"2026-11-01T00:00:00Z",
        "end-datetime":"2026-11-01T23:59:59Z"},"contact-info":"t@far.example","report-id":"7","policies":[{"policy":
        {"policy-type":"sts","policy-string":["version: STSv1"],"policy-domain":"example.org"},"summary":
        {"total-successful-session-count":10,"total-failure-session-count":3},"failure-details":[{"result-type":
        "certificate-expired","sending-mta-ip":"192.0.2.1","receiving-mx-hostname":"mx.example.org",
        "failed-session-count":2}]}]}"#;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("a!b!1!2.xml", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap().into_inner()
    }

    fn message(kind: &str, content: &[u8]) -> Vec<u8> {
        let content = base64::engine::general_purpose::STANDARD.encode(content);
        format!(
            "From: r@far.example\r\nSubject: report\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; \
             boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n<feedback> is attached\r\n--b\r\nContent-Type: \
             {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}\r\n--b--\r\n"
        )
        .into_bytes()
    }

    /// Row MA-18.
    #[test]
    fn dmarc_reports_are_read_packed_and_not() {
        for (kind, content) in [
            ("application/gzip", gzip(XML.as_bytes())),
            ("application/octet-stream", gzip(XML.as_bytes())),
            ("application/zip", zipped(XML.as_bytes())),
            ("text/xml", XML.as_bytes().to_vec()),
        ] {
            let got = read(&message(kind, &content)).unwrap();
            assert_eq!((got.kind, got.total, got.good, got.left_out), (ReportKind::Dmarc, 7, 2, 0), "{kind}");
            assert_eq!((got.organisation.as_str(), got.id.as_str()), ("Far Inc", "1!2"));
            assert_eq!(got.domains, [Domain::parse("example.org").unwrap()]);
            assert_eq!((got.begin, got.end), (Timestamp(1_700_000_000), Timestamp(1_700_086_399)));
            assert_eq!(got.policy, "p=reject sp=none adkim=s aspf=r");
            assert_eq!((got.rows[0].source.as_str(), got.rows[0].count), ("203.0.113.1", 5));
            assert_eq!(got.rows[1].text, "From example.org, DKIM pass, SPF fail, disposition none");
        }
    }

    /// Row TP-13.
    #[test]
    fn tls_reports_are_read() {
        let got = read(&message("application/tlsrpt+gzip", &gzip(JSON.as_bytes()))).unwrap();
        assert_eq!((got.kind, got.total, got.good), (ReportKind::Tls, 13, 10));
        assert_eq!((got.policy.as_str(), got.rows.len()), ("sts", 3));
        assert_eq!(got.rows[1].text, "sts, certificate-expired mx.example.org");
        assert_eq!(got.end, Timestamp(1_793_577_599));
        assert_eq!(read(&message("application/tlsrpt+json", JSON.as_bytes())).unwrap(), got);
    }

    #[test]
    fn what_is_no_report_is_told() {
        let spaces = vec![b' '; usize::try_from(REPORT_UNPACKED).unwrap() + 1];
        for (kind, content, want) in [
            ("application/gzip", gzip(&spaces), "too large when unpacked"),
            ("application/zip", zipped(&spaces), "too large when unpacked"),
            ("application/gzip", b"\x1f\x8b\x08".to_vec(), "cannot be unpacked: "),
            ("application/zip", b"PK\x03\x04".to_vec(), "cannot be unpacked: "),
            ("application/xml", b"<feedback></feedback>".to_vec(), "cannot be read: "),
            ("application/json", b"{}".to_vec(), "cannot be read: "),
            ("application/pdf", b"%PDF".to_vec(), "no report found"),
            ("text/plain", XML.as_bytes().to_vec(), "no report found"),
            (
                "text/xml",
                XML.replace("<domain>example.org", "<domain>..").into_bytes(),
                "its domain cannot be read",
            ),
        ] {
            let got = read(&message(kind, &content)).unwrap_err();
            assert!(got.starts_with(want), "{kind}: {got}");
        }
        assert!(read(b"").is_err());
    }

    /// What is kept fits, however much there is.
    #[test]
    fn many_rows_are_counted_and_cut() {
        let start = XML.find("<record>").unwrap();
        let row = &XML[start..XML.find("</record>").unwrap() + 9];
        let many = XML.replacen(row, &row.repeat(3000), 1);
        let got = read(&message("application/gzip", &gzip(many.as_bytes()))).unwrap();
        assert_eq!((got.total, got.good), (6005, 6000));
        assert_eq!(got.rows.len() + got.left_out as usize, 3001);
        assert!(got.rows.len() > 20 && got.rows[0].count == 5);
        let octets: usize = got.rows.iter().map(|row| row.source.len() + row.text.len() + 16).sum();
        assert!(octets < REPORT_OCTETS);
    }
}
