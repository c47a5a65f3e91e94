//! What a run asked of the store and what that costs, as reports tell it.

use serde_json::{Value, json};

use super::output::Fields;
use crate::store::{Prices, Usage};
use crate::units::Bytes;

/// The end of a report.
#[derive(Debug)]
pub(super) struct Bill<'a> {
    usage: Usage,
    /// What was stored and stays.
    stored_bytes: u64,
    prices: Option<&'a Prices>,
}

impl<'a> Bill<'a> {
    /// What was asked, and with `prices` what that costs.
    pub(super) fn new(usage: Usage, prices: Option<&'a Prices>) -> Self {
        Self { usage, stored_bytes: 0, prices }
    }

    /// The same where everything that was sent stays there.
    pub(super) fn keeping(usage: Usage, prices: Option<&'a Prices>) -> Self {
        Self { usage, stored_bytes: usage.uploaded_bytes, prices }
    }

    /// A line for people.
    pub(super) fn line(&self) -> String {
        let usage = &self.usage;
        let again = match usage.retries {
            0 => String::new(),
            retries => format!(" ({retries} again)"),
        };
        let deletes = match usage.delete_requests {
            0 => String::new(),
            deletes => format!(", {deletes} delete"),
        };
        let cost = self.prices.map_or_else(String::new, |prices| {
            let cost = prices.estimate(usage, self.stored_bytes);
            let month = match self.stored_bytes {
                0 => String::new(),
                _ => format!(", and {} {} a month", cost.stored_per_month, cost.currency),
            };
            format!("; {} {}{month}", cost.amount, cost.currency)
        });
        format!(
            "requests: {} put, {} get, {} list{deletes}{again}; up {}, down {}{cost}\n",
            usage.put_requests,
            usage.get_requests,
            usage.list_requests,
            Bytes(usage.uploaded_bytes),
            Bytes(usage.downloaded_bytes)
        )
    }

    /// For programs: `requests`, and `cost` where there are prices.
    pub(super) fn add_to(&self, answer: &mut Fields) {
        let usage = &self.usage;
        let requests = json!({
            "put": usage.put_requests,
            "get": usage.get_requests,
            "list": usage.list_requests,
            "delete": usage.delete_requests,
            "retries": usage.retries,
            "uploaded_bytes": usage.uploaded_bytes,
            "downloaded_bytes": usage.downloaded_bytes,
        });
        let cost = self.prices.map_or(Value::Null, |prices| {
            let cost = prices.estimate(usage, self.stored_bytes);
            json!({
                "amount": cost.amount.as_f64(),
                "currency": cost.currency,
                "stored_per_month": cost.stored_per_month.as_f64(),
            })
        });
        answer.insert("requests".to_owned(), requests);
        answer.insert("cost".to_owned(), cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Money;

    const USAGE: Usage = Usage {
        put_requests: 12,
        get_requests: 3,
        list_requests: 2,
        delete_requests: 0,
        retries: 1,
        uploaded_bytes: 3 << 20,
        downloaded_bytes: 12 << 10,
    };

    fn prices() -> Prices {
        let money = |price| Money::from_price(price).unwrap();
        let currency = "USD".to_owned();
        Prices { currency, put: money(0.005), stored: money(1.0), ..Prices::default() }
    }

    #[test]
    fn one_line_with_what_there_is() {
        let plain = Bill::new(USAGE, None).line();
        assert_eq!(plain, "requests: 12 put, 3 get, 2 list (1 again); up 3.0 MiB, down 12.0 KiB\n");
        let prices = prices();
        let line = Bill::new(USAGE, Some(&prices)).line();
        assert!(line.ends_with("down 12.0 KiB; less than 0.0001 USD\n"), "{line}");
        let line = Bill::keeping(USAGE, Some(&prices)).line();
        assert!(line.ends_with("USD, and about 0.0029 USD a month\n"), "{line}");
    }

    #[test]
    fn json_has_both_always() {
        let mut answer = Fields::new();
        Bill::new(USAGE, None).add_to(&mut answer);
        assert_eq!(answer["requests"]["retries"], 1);
        assert_eq!(answer["cost"], Value::Null);
        Bill::keeping(USAGE, Some(&prices())).add_to(&mut answer);
        assert_eq!(answer["cost"]["amount"], 0.000_06);
        assert_eq!(answer["cost"]["currency"], "USD");
        assert_eq!(answer["cost"]["stored_per_month"], 0.002_929_687);
    }
}
