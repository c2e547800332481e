//! What to say about the dates of certificates and of revocation lists. Times are seconds since 1970.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::presented::seconds;

/// Two weekends to act in.
const SOON: i64 = 14 * DAY;

const DAY: i64 = 24 * 60 * 60;

/// What is wrong with the dates of certificate `index` (from 1) of a chain, or will be within 14 days.
pub fn complaint(index: usize, not_before: i64, not_after: i64, now: i64) -> Option<String> {
    let which = match index {
        1 => "the certificate".to_owned(),
        index => format!("certificate {index} of the chain"),
    };
    if now > not_after {
        Some(format!("{which} has expired {} ago", days(now - not_after)))
    } else if now < not_before {
        Some(format!("{which} is not valid yet, it will be in {}", days(not_before - now)))
    } else if not_after - now <= SOON {
        Some(format!("{which} expires in {}", days(not_after - now)))
    } else {
        None
    }
}

/// A weekend, for lists that are replaced every month. Those of a day or a week come with less: a quarter of their time.
const DUE: i64 = 3 * DAY;

/// What is wrong with the dates of a revocation list, or will be unless it is replaced.
pub fn complaint_of_list(issued: i64, until: i64, now: i64) -> Option<String> {
    if now > until {
        let ago = days(now.saturating_sub(until));
        Some(format!("a revocation list should have been replaced {ago} ago"))
    } else if until.saturating_sub(now) <= DUE.min(until.saturating_sub(issued) / 4) {
        Some(format!("a revocation list has to be replaced, the next one is due in {}", days(until - now)))
    } else {
        None
    }
}

/// When a certificate in DER ends, in seconds since 1970; `None` when it is none.
pub fn ends(certificate: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(seconds(certificate.validity().not_after))
}

/// "82 days left", or "expired". Both are seconds since 1970.
pub fn days_left(not_after: i64, now: i64) -> String {
    if now > not_after { "expired".to_owned() } else { format!("{} left", days(not_after - now)) }
}

fn days(seconds: i64) -> String {
    match seconds / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_weeks_before_the_end_it_is_said() {
        let end = 100 * DAY;
        assert_eq!(complaint(1, 0, end, end - SOON - 1), None);
        assert_eq!(complaint(1, 0, end, end - SOON).unwrap(), "the certificate expires in 14 days");
        assert_eq!(complaint(1, 0, end, end).unwrap(), "the certificate expires in less than a day");
        assert_eq!(
            complaint(2, 0, end, end + 1).unwrap(),
            "certificate 2 of the chain has expired less than a day ago"
        );
        assert_eq!(complaint(1, 0, end, end + 3 * DAY).unwrap(), "the certificate has expired 3 days ago");
    }

    #[test]
    fn a_list_that_is_due_is_said_and_one_that_is_made_every_day_is_not_always_due() {
        let said = complaint_of_list;
        let month = 30 * DAY;
        assert_eq!(said(0, month, month - DUE - 1), None);
        let due = "a revocation list has to be replaced, the next one is due in ";
        assert_eq!(said(0, month, month - DUE), Some(format!("{due}3 days")));
        assert_eq!(said(0, DAY, DAY / 2), None);
        assert_eq!(said(0, DAY, DAY - DAY / 4), Some(format!("{due}less than a day")));
        let stale = "a revocation list should have been replaced 3 days ago";
        assert_eq!(said(0, DAY, 4 * DAY).as_deref(), Some(stale));
        // Of an authority whose clock went wrong.
        assert!(said(i64::MAX, i64::MIN, 0).is_some());
    }

    #[test]
    fn a_certificate_of_the_future_is_said() {
        let text = complaint(1, 2 * DAY, 100 * DAY, DAY).unwrap();
        assert_eq!(text, "the certificate is not valid yet, it will be in 1 day");
    }
}
