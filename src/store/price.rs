//! What a run will cost: the provider's price list times what was asked of the store. An estimate; what
//! counts is the bill.

use std::fmt;

use super::Usage;

/// Parts of a whole unit of money.
const BILLION: u64 = 1_000_000_000;
/// Requests that a price is for.
const REQUESTS: u64 = 1_000;
/// Bytes that a price is for.
const GIB: u64 = 1 << 30;

/// An amount of money, in billionths of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    /// Billionths.
    pub billionths: u64,
}

impl Money {
    /// The amount that a number in a price list says; `None` if no price can be so.
    pub fn from_price(price: f64) -> Option<Self> {
        const HIGHEST: f64 = 1e6;
        let is_price = price.is_finite() && (0.0..=HIGHEST).contains(&price);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        is_price.then(|| Self { billionths: (price * BILLION as f64).round() as u64 })
    }

    /// The amount as a number.
    pub fn as_f64(self) -> f64 {
        self.billionths as f64 / BILLION as f64
    }

    /// The price of `count` things at this price for `unit` of them.
    fn times(self, count: u64, unit: u64) -> u128 {
        u128::from(self.billionths) * u128::from(count) / u128::from(unit)
    }

    fn sum(parts: impl IntoIterator<Item = u128>) -> Self {
        let sum: u128 = parts.into_iter().sum();
        Self { billionths: u64::try_from(sum).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Money {
    /// In the words of an estimate, with as few digits as tell something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SMALLEST: u64 = BILLION / 10_000;
        match self.billionths {
            0 => f.write_str("0"),
            1..SMALLEST => f.write_str("less than 0.0001"),
            SMALLEST..BILLION => write!(f, "about {:.4}", self.as_f64()),
            _ => write!(f, "about {:.2}", self.as_f64()),
        }
    }
}

/// What a provider asks. What costs nothing is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// What the amounts are of, such as `USD`.
    pub currency: String,
    /// Of 1,000 requests that create.
    pub put: Money,
    /// Of 1,000 requests that read.
    pub get: Money,
    /// Of 1,000 pages of listings.
    pub list: Money,
    /// Of 1,000 requests that remove.
    pub delete: Money,
    /// Of a GiB to the store.
    pub uploaded: Money,
    /// Of a GiB from the store.
    pub downloaded: Money,
    /// Of a GiB that lies there for a month.
    pub stored: Money,
}

/// What something costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Once.
    pub amount: Money,
    /// Each month, for what was stored.
    pub stored_per_month: Money,
    /// What the amounts are of.
    pub currency: String,
}

impl Prices {
    /// What `usage` costs once, and what keeping `stored_bytes` costs each month.
    pub fn estimate(&self, usage: &Usage, stored_bytes: u64) -> Cost {
        Cost {
            amount: Money::sum([
                self.put.times(usage.put_requests, REQUESTS),
                self.get.times(usage.get_requests, REQUESTS),
                self.list.times(usage.list_requests, REQUESTS),
                self.delete.times(usage.delete_requests, REQUESTS),
                self.uploaded.times(usage.uploaded_bytes, GIB),
                self.downloaded.times(usage.downloaded_bytes, GIB),
            ]),
            stored_per_month: Money::sum([self.stored.times(stored_bytes, GIB)]),
            currency: self.currency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(price: f64) -> Money {
        Money::from_price(price).unwrap()
    }

    #[test]
    fn adds_up_what_each_kind_costs() {
        let prices = Prices {
            currency: "USD".to_owned(),
            put: money(0.005),
            get: money(0.0004),
            list: money(0.005),
            delete: Money::default(),
            uploaded: money(0.01),
            downloaded: money(0.09),
            stored: money(0.023),
        };
        let usage = Usage {
            put_requests: 2_000,
            get_requests: 10_000,
            list_requests: 100,
            delete_requests: 5_000,
            retries: 7,
            uploaded_bytes: 10 << 30,
            downloaded_bytes: 1 << 29,
        };
        let cost = prices.estimate(&usage, 100 << 30);
        // 0.01 + 0.004 + 0.0005 + 0.1 + 0.045
        assert_eq!(cost.amount, money(0.1595));
        assert_eq!(cost.stored_per_month, money(2.3));
        let nothing = prices.estimate(&Usage::default(), 0);
        assert_eq!((nothing.amount, nothing.stored_per_month), Default::default());
    }

    #[test]
    fn a_single_request_is_not_lost_and_the_most_does_not_wrap() {
        let prices = Prices { get: money(0.0004), stored: money(1e6), ..Prices::default() };
        let usage = Usage { get_requests: 1, ..Usage::default() };
        assert_eq!(prices.estimate(&usage, 0).amount.billionths, 400);
        let usage = Usage { get_requests: u64::MAX, ..Usage::default() };
        assert!(prices.estimate(&usage, u64::MAX).amount > money(1e6));
    }

    #[test]
    fn amounts_read_well() {
        for (billionths, text) in [
            (0, "0"),
            (400, "less than 0.0001"),
            (155_000, "about 0.0002"),
            (159_500_000, "about 0.1595"),
            (2_300_000_000, "about 2.30"),
        ] {
            assert_eq!(Money { billionths }.to_string(), text);
        }
        for price in [-1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(Money::from_price(price), None);
        }
    }
}
