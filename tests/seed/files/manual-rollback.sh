#!/bin/bash
# HolySheep Relay Manual Rollback Command
HOLYSHEEP_API_KEY="YOUR_HOLYSHEEP_API_KEY"
BASE_URL="https://api.holysheep.ai/v1"
# Immediate rollback to stable
echo "Initiating immediate rollback..."
curl -X POST "${BASE_URL}/admin/rollback" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}" \
-H "Content-Type: application/json" \
-H "X-Rollback-Target: stable" \
-H "X-Rollback-Reason: Manual trigger - observed latency spike" \
-d '{
"force": true,
"drain_connections": true
}'
echo ""
echo "Rollback initiated. Monitoring status..."
# Check rollback status
curl -X GET "${BASE_URL}/admin/rollback/status" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}"
echo ""
echo "Rollback status check complete."
