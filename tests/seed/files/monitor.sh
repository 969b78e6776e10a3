#!/bin/bash
# HolySheep Traffic Monitor
# Check version distribution and health metrics
HOLYSHEEP_API_KEY="YOUR_HOLYSHEEP_API_KEY"
BASE_URL="https://api.holysheep.ai/v1"
echo "=== HolySheep Relay Traffic Monitor ==="
echo ""
# Get traffic distribution
echo "Traffic Distribution:"
curl -s -X GET "${BASE_URL}/admin/traffic/distribution" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}" | python3 -m json.tool
echo ""
echo "---"
# Get error rates by version
echo "Error Rates by Version:"
curl -s -X GET "${BASE_URL}/admin/metrics/errors" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}" | python3 -m json.tool
echo ""
echo "---"
# Get latency percentiles
echo "Latency Percentiles (ms):"
curl -s -X GET "${BASE_URL}/admin/metrics/latency" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}" | python3 -m json.tool
echo ""
echo "Monitor run complete."
