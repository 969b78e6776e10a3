#!/bin/bash
# HolySheep API Relay Base Configuration
export HOLYSHEEP_BASE_URL="https://api.holysheep.ai/v1"
export HOLYSHEEP_API_KEY="YOUR_HOLYSHEEP_API_KEY"
# Test your connection
curl -X GET "${HOLYSHEEP_BASE_URL}/models" \
-H "Authorization: Bearer ${HOLYSHEEP_API_KEY}" \
-H "Content-Type: application/json"
echo "Connection test complete!"
