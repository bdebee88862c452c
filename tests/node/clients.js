// SPDX-License-Identifier: Apache-2.0
// node-q against Penstock: publishes, subscribes, asks and gets errors, as its README says how.
// clients.js MODULES PORT: a directory with node_modules, the tickerplant's port.
"use strict";
const path = require("path");
const assert = require("assert");
const nodeq = require(path.join(process.argv[2], "node_modules", "node-q"));
const Long = require(path.join(process.argv[2], "node_modules", "long"));
const port = Number(process.argv[3]);
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
setTimeout(() => { console.error("node-q: nothing happens any more"); process.exit(1); }, 30000).unref();

const connect = (options) => new Promise((yes, no) =>
    nodeq.connect({ host: "127.0.0.1", port, nanos2date: false, long2number: true, ...options }, (err, con) => (err ? no(err) : yes(con))));
const ask = (con, ...args) => new Promise((yes, no) => con.k(...args, (err, res) => (err ? no(err) : yes(res))));
const send = (con, ...args) => new Promise((yes, no) => con.ks(...args, (err) => (err ? no(err) : yes())));
async function until(what, fn) {
    for (let i = 0; i < 500; i++) {
        if (await fn()) return;
        await wait(20);
    }
    throw new Error("not within ten seconds: " + what);
}
async function fails(con, words, ...args) {
    let got;
    try {
        got = await ask(con, ...args);
    } catch (e) {
        assert(e.message.includes(words), args[0] + ": " + e.message);
        return;
    }
    throw new Error(args[0] + " gave no error but " + JSON.stringify(got));
}

(async () => {
    const user = { user: "admin", password: "a" };
    await assert.rejects(connect({ user: "admin", password: "wrong" }));
    const pub = await connect(user), sub = await connect(user), all = await connect(user);
    const seen = { AAPL: [], every: 0 };
    all.on("upd", (table, data) => { if (table === "trade") seen.every += data.length; });
    await send(all, ".u.sub[`;`]"); // as its README has it: text, async
    sub.on("upd", (table, data) => data.forEach((r) => seen[r.sym].push([r.price, r.size])));
    const [name, schema] = await ask(sub, ".u.sub", nodeq.symbol("trade"), nodeq.symbols(["AAPL"]));
    assert.strictEqual(name, "trade");
    assert.deepStrictEqual(schema, []); // an empty table
    assert.deepStrictEqual(await ask(pub, "tables[]").then((t) => t.includes("trade")), true);
    assert.deepStrictEqual(await ask(pub, "cols trade"), ["time", "sym", "price", "size"]);
    // a row without time of typed values; one of node-q's plain ones: each number is a float; columns, async
    await ask(pub, ".u.upd", nodeq.symbol("trade"), [nodeq.symbol("AAPL"), nodeq.float(1.5), nodeq.long(Long.fromNumber(10))]);
    await ask(pub, ".u.upd", "trade", [nodeq.symbol("MSFT"), 2.5, 20]);
    const n = 1000;
    await send(pub, ".u.upd", nodeq.symbol("trade"), [
        nodeq.symbols(Array.from({ length: n }, (_, i) => (i % 2 ? "AAPL" : "IBM"))),
        nodeq.floats(Array.from({ length: n }, (_, i) => i / 4)),
        nodeq.longs(Array.from({ length: n }, (_, i) => Long.fromNumber(i)))]);
    await fails(pub, "trade", ".u.upd", nodeq.symbol("trade"), [nodeq.symbol("A"), 1.5, 2, 3, 4]); // too many columns
    await until("the rows", async () => (await ask(pub, "count trade")) === n + 2);
    await until("what was subscribed", () => seen.every === n + 2 && seen.AAPL.length === n / 2 + 1);
    assert.deepStrictEqual(seen.AAPL[0], [1.5, 10]);
    assert.deepStrictEqual(seen.AAPL.slice(1), Array.from({ length: n / 2 }, (_, i) => [(2 * i + 1) / 4, 2 * i + 1]));
    const rows = await ask(pub, "s)select sym, price, size from trade where sym = 'IBM' order by size");
    assert.strictEqual(rows.length, n / 2);
    assert.deepStrictEqual(rows[3], { sym: "IBM", price: 1.5, size: 6 });
    assert.deepStrictEqual(await ask(pub, "rows_of", nodeq.symbol("trade")), [{ rows: n + 2 }]);
    assert.strictEqual((await ask(pub, ".u.snap", nodeq.symbol("trade"))).length, 1000);
    const every = await ask(pub, "s)select * from every");
    assert.deepStrictEqual(every, []);
    await fails(pub, "there is no", "s)select * from tradee");
    await fails(pub, "nosuch", ".u.sub", nodeq.symbol("nosuch"), nodeq.symbol(""));
    await fails(pub, "", "hopen `:x");
    await fails(pub, "", "system", "ls");
    // many requests at once: each answer belongs to its own
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(pub, "s)select " + i + " i from trade limit 1")));
    answers.forEach((a, i) => assert.strictEqual(a[0].i, i));
    // a stream: node-q takes each message that is no upd for the answer to its next k(), so there is always one that waits
    const stream = await connect(user), told = [];
    const next = () => stream.k((err, m) => { told.push(err || m); next(); });
    const asked = ask(stream, ".sa.sub", nodeq.symbol("last"), { table: nodeq.symbol("trade"), syms: nodeq.symbols(["AAPL", "IBM"]) });
    next();
    const last = await asked;
    assert.strictEqual(last.name, "last");
    assert.deepStrictEqual(last.key, ["sym"]);
    await until("the state of the stream", () => told.length === 1);
    await ask(pub, ".u.upd", nodeq.symbol("trade"), [nodeq.symbol("MSFT"), nodeq.float(9.5), nodeq.long(Long.fromNumber(1))]);
    for (const size of [71, 72])
        await ask(pub, ".u.upd", nodeq.symbol("trade"), [nodeq.symbol("IBM"), nodeq.float(7.5), nodeq.long(Long.fromNumber(size))]);
    // (not by looking for "72" in its text, which has times)
    await until("what changed it", () => told[told.length - 1][2][1].some((v) => v.size === 72));
    const state = new Map();
    told.forEach(([kind, id, [keys, values]], i) => {
        assert.deepStrictEqual([kind, id], [i ? ".sa.upd" : ".sa.snap", last.id]);
        keys.forEach((k, n) => state.set(k.sym, [values[n].price, values[n].size]));
        assert(!i || keys.every((k) => k.sym === "IBM")); // and nothing of MSFT
    });
    assert.deepStrictEqual([...state], [["AAPL", [249.75, 999]], ["IBM", [7.5, 72]]]);
    for (const c of [pub, sub, all, stream]) c.close(() => {});
    console.log("node-q: ok");
    process.exit(0);
})().catch((e) => { console.error(e); process.exit(1); });
