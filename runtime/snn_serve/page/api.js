// Shows openapi.json for people to read.
function add(parent, tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

function table(parent, rows) {
  const made = add(parent, "table");
  for (const [name, meaning] of rows) {
    const row = add(made, "tr");
    add(add(row, "th"), "code", name);
    add(row, "td", meaning);
  }
}

const answer = await fetch("openapi.json");
const { info, paths } = await answer.json();
const main = document.getElementById("paths");
add(main, "p", info.description);
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, about] of Object.entries(methods)) {
    const section = add(main, "section");
    add(add(section, "h2"), "code", `${method.toUpperCase()} ${path}`);
    add(section, "p", about.description ?? about.summary);
    table(section, (about.parameters ?? []).map((each) => [each.name, each.description]));
    table(section, Object.entries(about.requestBody?.content ?? {}).map(([kind, each]) => [kind, each.schema.description]));
    table(section, Object.entries(about.responses).map(([status, each]) => [status, each.description]));
  }
}
