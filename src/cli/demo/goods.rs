//! What the systems say to each other: orders, shipments, prices and stock, as such systems write them.
//!
//! # What it does not know
//!
//! Who hands them in, and what becomes of them.

/// Where a message goes.
pub(super) const COURIER: &str = "courier";
pub(super) const ERP: &str = "erp";
pub(super) const PRICES: &str = "shop-prices";
pub(super) const STOCK: &str = "shop-stock";
/// All of it.
pub(super) const DESTINATIONS: [&str; 4] = [COURIER, ERP, PRICES, STOCK];

/// A line of an order that the ERP refuses, and what a person makes of it.
pub(super) const NO_POSTCODE: &str = "\"postcode\": \"\"";
pub(super) const POSTCODE: &str = "\"postcode\": \"00-238\"";

/// The articles, with a price in grosze.
pub(super) const ARTICLES: [(&str, u64); 6] = [
    ("TEA-EARL-100", 2_490),
    ("TEA-SENCHA-50", 3_190),
    ("MUG-WHITE-03", 1_850),
    ("KETTLE-STEEL-1L", 14_900),
    ("FILTER-PAPER-80", 990),
    ("HONEY-LIME-400", 2_750),
];

/// Who buys: name, street, postcode, city.
const BUYERS: [(&str, &str, &str, &str); 6] = [
    ("Anna Kowalska", "ul. Długa 12/4", "00-238", "Warszawa"),
    ("Jan Wiśniewski", "ul. Floriańska 31", "31-019", "Kraków"),
    ("Zofia Wójcik", "ul. Świdnicka 8", "50-067", "Wrocław"),
    ("Piotr Zieliński", "al. Niepodległości 700", "81-853", "Sopot"),
    ("Maria Lewandowska", "ul. Święty Marcin 24", "61-805", "Poznań"),
    ("Tomasz Kamiński", "ul. Piotrkowska 104", "90-926", "Łódź"),
];

/// A message that a system hands in.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) destination: &'static str,
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Envelope {
    /// As `POST /v1/messages` takes it. Keys and kinds are ours and need no escape; the body stands as it is.
    pub(super) fn json(&self) -> String {
        let Envelope { destination, key, kind, body } = self;
        format!("{{\"destination\":\"{destination}\",\"key\":\"{key}\",\"type\":\"{kind}\",\"body\":{body}}}")
    }
}

/// An order for the ERP.
pub(super) fn order(number: u64) -> Envelope {
    let (sku, grosze) = of(&ARTICLES, number);
    let (buyer, ..) = of(&BUYERS, number);
    let quantity = number % 3 + 1;
    let body = format!(
        "{{\n  \"number\": \"{number}\",\n  \"status\": \"processing\",\n  \"currency\": \"PLN\",\n  \"total\": \"{}\",\n  \"billing\": {{\"name\": \"{buyer}\"}},\n  \
         \"shipping\": {{\n{}\n  }},\n  \"line_items\": [\n    {{\"sku\": \"{sku}\", \"quantity\": {quantity}, \"price\": \"{}\"}}\n  ]\n}}",
        money(grosze * quantity),
        address(number, "    "),
        money(grosze)
    );
    Envelope { destination: ERP, key: format!("order:{number}"), kind: "order.created", body }
}

/// An order whose buyer left out the postcode.
pub(super) fn broken_order(number: u64) -> Envelope {
    let order = order(number);
    let (_, _, postcode, _) = of(&BUYERS, number);
    let body = order.body.replace(&format!("\"postcode\": \"{postcode}\""), NO_POSTCODE);
    Envelope { body, ..order }
}

/// The parcel of an order, for the courier.
pub(super) fn shipment(number: u64) -> Envelope {
    let grams = 300 + number % 7 * 250;
    let body = format!(
        "{{\n  \"reference\": \"{number}\",\n  \"service\": \"courier-standard\",\n  \"receiver\": {{\n{}\n  }},\n  \"parcels\": [{{\"weight_g\": {grams}}}]\n}}",
        address(number, "    ")
    );
    Envelope { destination: COURIER, key: format!("order:{number}"), kind: "shipment.requested", body }
}

/// A new price of an article, for the shop.
pub(super) fn price(article: u64, change: u64) -> Envelope {
    let (sku, grosze) = of(&ARTICLES, article);
    let amount = money(grosze + change * 50);
    let body = format!("{{\"sku\": \"{sku}\", \"price\": \"{amount}\", \"currency\": \"PLN\", \"change\": {change}}}");
    Envelope { destination: PRICES, key: format!("sku:{sku}"), kind: "price.changed", body }
}

/// How many of an article there are, for the shop.
pub(super) fn stock(article: u64, count: u64) -> Envelope {
    let (sku, _) = of(&ARTICLES, article);
    let body = format!("{{\"sku\": \"{sku}\", \"available\": {}, \"warehouse\": \"WAW-1\"}}", count % 200);
    Envelope { destination: STOCK, key: format!("sku:{sku}"), kind: "stock.level", body }
}

fn address(number: u64, indent: &str) -> String {
    let (name, street, postcode, city) = of(&BUYERS, number);
    let lines = [("name", name), ("address", street), ("postcode", postcode), ("city", city), ("country", "PL")];
    lines.map(|(key, value)| format!("{indent}\"{key}\": \"{value}\"")).join(",\n")
}

fn money(grosze: u64) -> String {
    format!("{}.{:02}", grosze / 100, grosze % 100)
}

/// One of several, in turns.
fn of<T: Copy + Default, const N: usize>(all: &[T; N], number: u64) -> T {
    let at = usize::try_from(number).unwrap_or(0) % N.max(1);
    all.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_json_and_stands_in_its_envelope_as_it_is() {
        for number in 0..12 {
            for one in [order(number), broken_order(number), shipment(number), price(number, 3), stock(number, 5)] {
                let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
                let (whole, body) = (read(&one.json()), read(&one.body));
                assert_eq!((&whole["body"], whole["destination"].as_str()), (&body, Some(one.destination)));
            }
            assert!(broken_order(number).body.contains(NO_POSTCODE) && !order(number).body.contains(NO_POSTCODE));
        }
    }
}
