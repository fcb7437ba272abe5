//! Another node as a source.

use super::world::World;

const SECRET: &str = "secret = { file = \"NEW\" }";

/// What another node sends together is counted message by message.
#[test]
fn what_comes_together_is_counted_one_by_one() {
    let there = World::serve(&format!(
        "[source.here]\nverify = {{ preset = \"goniec\", {SECRET} }}\n[[route]]\ntype = \"order\"\nto = [\"log\"]\n"
    ));
    let here = World::serve(&format!(
        "[destination.there]\ntype = \"goniec\"\nurl = \"http://{}/v1/in/here\"\nsign = {{ {SECRET} }}\n",
        there.address()
    ));
    here.run(&["pause", "there", "--why", "so that they go together"]);
    for kind in ["order", "order", "price"] {
        assert_eq!(here.post("/v1/send/there", &[("goniec-type", kind)], b"{}").0, 202, "{kind}");
    }
    here.run(&["resume", "there"]);
    let counted =
        |result: &str| there.figure(&format!("goniec_source_deliveries_total{{source=\"here\",result=\"{result}\"}}"));
    there.until("each is counted", |_| counted("taken") + counted("unrouted") == 3);
    assert_eq!(["taken", "unrouted", "repeated", "refused"].map(counted), [2, 1, 0, 0]);
}
