#!/bin/sh
# Label what has come into a folder, and put away what cannot be read: a job for cron.
#
#     batch_job.sh incoming answers.jsonl refused
#
# The exit codes of snn-infer decide. 0: all labelled. 4: some could not be read. 3: none was
# labelled. Anything else is no fault of the pictures (the model, the machine): nothing is moved.
set -u
incoming=$1 answers=$2 refused=$3

snn-infer --format json --top-k 1 "$incoming" > "$answers.new"
code=$?
case $code in
  0 | 3 | 4) ;;
  *)
    rm -f "$answers.new"
    exit "$code"
    ;;
esac

mkdir -p "$refused"
# One object a line, the summary last. What failed has "ok": false and the reason as a code.
python3 -c '
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    if record.get("ok") is False:
        print(record["path"])
' < "$answers.new" | while IFS= read -r picture; do
  if [ -f "$picture" ]; then mv "$picture" "$refused/"; fi
done
cat "$answers.new" >> "$answers"
rm -f "$answers.new"
